// Paints the timeline. Lanes are virtual: what is outside the view, in time or in height, is not painted.
// A lane is [id, track, row, title, [[phase, start, end]], [[point, at, detail]]], a band [id, track, start, end,
// outcome, label], a mark [id, track, kind, at, label].

const HEAD = 42; // pixels above a track's lanes, for its refreshes and its marks
const NAME = 10; // and for its name, if there are several
const FOOT = 10;
const FLAGS = 18;
const THICKEST = 20;
const THINNEST = 1;
const SHAPES_FROM = 5; // below so many pixels a lane has room for colours only
const TITLES_FROM = 12;
const TITLES = { freshfetch: "freshfetch", naive: "A naive client" };
const WORDS = { held: "held", sent: "sent", replayed: "sent again" };
const COLOURS = ["ink", "soft", "line", "raised", "accent", "bad"];
const LANE_COLOURS = ["held", "sent", "replayed", "band", "adopted"];

export function layOut(items, { from, to }, { width, height, top }) {
  const x = (at) => ((at - from) / (to - from)) * width;
  const shown = [...items.lanes.values()].filter((lane) => startOf(lane) <= to && endOf(lane, to) >= from);
  shown.sort((one, other) => one[1].localeCompare(other[1]) || one[2] - other[2] || startOf(one) - startOf(other));
  const names = [...new Set([...items.lanes.values(), ...items.bands.values()].map((each) => each[1]))].sort();
  const flags = [...items.marks.values()].some((mark) => mark[2] === "scenario") ? FLAGS : 0;
  const rows = names.map((name) => 1 + Math.max(0, ...shown.filter((lane) => lane[1] === name).map((lane) => lane[2])));
  const head = HEAD + (names.length > 1 ? NAME : 0);
  const room = height - top - flags - names.length * (head + FOOT);
  const wanted = room / rows.reduce((sum, count) => sum + count, 0);
  const pitch = Math.min(THICKEST, Math.max(THINNEST, wanted));
  let y = top + flags;
  const tracks = new Map();
  names.forEach((name, index) => {
    tracks.set(name, { name, top: y, lanes: y + head, bottom: y + head + rows[index] * pitch + FOOT / 2 });
    y += head + rows[index] * pitch + FOOT;
  });
  const yOf = (lane) => tracks.get(lane[1]).lanes + lane[2] * pitch;

  function laneAt(atX, atY) {
    const away = (lane) => Math.max(x(startOf(lane)) - atX, atX - x(endOf(lane, to)), 0);
    const inRow = shown.filter((lane) => atY >= yOf(lane) && atY < yOf(lane) + pitch && away(lane) < 24);
    return inRow.sort((one, other) => away(one) - away(other))[0];
  }

  function scrollTo(lane, scroll) {
    const margin = 3 * pitch;
    return Math.max(yOf(lane) + pitch + margin - height, Math.min(scroll, yOf(lane) - top - flags - head - margin));
  }

  return { x, yOf, shown, tracks, pitch, width, height, top, flags, overflow: y - height, laneAt, scrollTo };
}

export function paint(canvas, items, layout, view) {
  const { width, height, top, flags } = layout;
  const ratio = globalThis.devicePixelRatio || 1;
  const [columns, lines] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== columns) canvas.width = columns;
  if (canvas.height !== lines) canvas.height = lines;
  const pen = canvas.getContext("2d");
  const style = getComputedStyle(view.panel);
  const colour = {};
  for (const name of COLOURS) colour[name] = style.getPropertyValue(`--${name}`);
  for (const name of LANE_COLOURS) colour[name] = style.getPropertyValue(`--lane-${name}`);
  const font = style.fontFamily;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  const brush = { pen, colour, font, layout, view, hatched: hatch(pen, colour.held, ratio) };

  pen.save();
  pen.beginPath();
  pen.rect(0, top, width, height - top);
  pen.clip();
  pen.translate(0, -view.scroll);
  const bands = [...items.bands.values()].filter((band) => isShown(band[2], band[3] ?? view.now, view));
  for (const band of bands) paintBand(brush, band);
  const lanes = layout.shown.filter((lane) => {
    const y = layout.yOf(lane) - view.scroll;
    return y + layout.pitch >= top && y <= height;
  });
  const read = lanes.find((lane) => lane[0] === view.read);
  if (read) {
    pen.fillStyle = colour.line;
    pen.fillRect(0, layout.yOf(read), width, Math.max(2, layout.pitch));
  }
  for (const lane of lanes) paintLane(brush, lane);
  if (layout.pitch >= TITLES_FROM) paintTitles(brush, lanes);
  for (const track of layout.tracks.values()) paintHead(brush, track, bands, items.marks);
  pen.restore();
  if (flags) paintFlags(brush, items.marks);
  return { lanes: layout.shown.length, bands: bands.length };
}

// What a lane tells, in words.
export function say(lane) {
  if (!lane) return "";
  const did = ([phase, start, end]) => [start, `${WORDS[phase]}${end === null ? "…" : ` ${took(end - start)}`}`];
  const came = ([point, at, detail]) => [at, point === "failed" ? `failed: ${detail}` : `answered ${detail}`];
  // Sorting is stable, and what follows an answer often begins at the same instant.
  const steps = [...lane[5].map(came), ...lane[4].map(did)].sort((one, other) => one[0] - other[0]);
  return [lane[3], ...steps.map(([, words]) => words)].join(" · ");
}

function paintBand({ pen, colour, layout, view }, [, track, start, end, outcome]) {
  const { lanes, bottom } = layout.tracks.get(track);
  const left = layout.x(start);
  const wide = Math.max(2, layout.x(end ?? view.now) - left);
  pen.fillStyle = isBad(outcome) ? colour.bad : colour.band;
  pen.globalAlpha = 0.13;
  pen.fillRect(left, lanes - 14, wide, bottom - lanes + 14);
  pen.globalAlpha = 0.7;
  if (isBad(outcome)) paintDashes(pen, left, left + wide, lanes - 14, bottom);
  else {
    pen.fillRect(left, lanes - 14, 1, bottom - lanes + 14);
    pen.fillRect(left + wide - 1, lanes - 14, 1, bottom - lanes + 14);
  }
  pen.globalAlpha = 1;
  pen.fillRect(left, lanes - 14, wide, 5);
}

function paintDashes(pen, left, right, top, bottom) {
  for (let y = top; y < bottom; y += 7) {
    pen.fillRect(left, y, 1, Math.min(4, bottom - y));
    pen.fillRect(right - 1, y, 1, Math.min(4, bottom - y));
  }
}

function paintLane(brush, lane) {
  const { pen, colour, layout, view } = brush;
  const { x, pitch } = layout;
  const thick = pitch < 3 ? pitch : Math.max(2, Math.min(10, Math.round(pitch * 0.62)));
  const middle = layout.yOf(lane) + pitch / 2;
  for (const [phase, start, end] of lane[4]) {
    const left = x(start);
    const wide = Math.max(1.5, x(end ?? view.now) - left);
    pen.fillStyle = colour[phase];
    if (phase === "held") pen.fillStyle = brush.hatched;
    pen.fillRect(left, middle - thick / 2, wide, thick);
    if (phase === "replayed" && pitch >= SHAPES_FROM) {
      pen.fillStyle = colour.raised;
      pen.fillRect(left, middle - 0.75, wide, 1.5);
    }
  }
  for (const [point, at] of lane[5]) paintPoint(brush, point, x(at), middle, thick);
}

// Waiting is hatched: lighter than doing something, and told from it without colours. Lanes that touch form one area.
function hatch(pen, colour, ratio) {
  const size = 6;
  const tile = new OffscreenCanvas(size, size);
  const own = tile.getContext("2d");
  own.strokeStyle = colour;
  own.lineWidth = 1.6;
  own.beginPath();
  for (const shift of [-size, 0, size]) {
    own.moveTo(shift - 1, size + 1);
    own.lineTo(shift + size + 1, -1);
  }
  own.stroke();
  const pattern = pen.createPattern(tile, "repeat");
  pattern.setTransform(new DOMMatrix().scale(1 / Math.min(1.5, ratio)));
  return pattern;
}

function paintPoint({ pen, colour, layout }, point, x, y, thick) {
  const size = Math.min(4, layout.pitch * 0.32);
  pen.fillStyle = pen.strokeStyle = point === "done" ? colour.accent : colour.bad;
  if (layout.pitch < SHAPES_FROM) {
    pen.fillRect(x - 1, y - thick / 2, 2.5, thick);
  } else if (point === "done") {
    pen.beginPath();
    pen.arc(x, y, size, 0, 2 * Math.PI);
    pen.fill();
  } else if (point === "failed") {
    pen.fillRect(x - size, y - size, 2 * size, 2 * size);
  } else {
    paintCross(pen, x, y, size, 1.75);
  }
}

function paintCross(pen, x, y, size, thick) {
  pen.lineWidth = thick;
  pen.beginPath();
  pen.moveTo(x - size, y - size);
  pen.lineTo(x + size, y + size);
  pen.moveTo(x + size, y - size);
  pen.lineTo(x - size, y + size);
  pen.stroke();
}

function paintTitles({ pen, colour, font, layout, view }, lanes) {
  pen.font = `11px ${font}`;
  pen.textBaseline = "middle";
  pen.fillStyle = colour.soft;
  const next = new Map(); // where the row's next lane begins, from right to left
  for (const lane of [...lanes].sort((one, other) => startOf(other) - startOf(one))) {
    const key = `${lane[1]} ${lane[2]}`;
    const left = layout.x(endOf(lane, view.now)) + 9;
    const end = next.get(key) ?? layout.width;
    if (left + pen.measureText(lane[3]).width < end - 4) pen.fillText(lane[3], left, layout.yOf(lane) + layout.pitch / 2);
    next.set(key, layout.x(startOf(lane)));
  }
}

// A track's name, and what its refreshes and marks are; a label that has no room is left out.
function paintHead(brush, track, bands, marks) {
  const { pen, colour, font, layout, view } = brush;
  pen.textBaseline = "alphabetic";
  pen.font = `600 12px ${font}`;
  pen.fillStyle = colour.ink;
  const name = TITLES[track.name] ?? track.name;
  if (layout.tracks.size > 1) pen.fillText(name, 10, track.top + 14);
  pen.font = `11px ${font}`;
  const labels = [];
  for (const [, own, start, end, outcome, label] of bands) {
    const words = bandLabel(outcome, label, end - start);
    if (own === track.name) labels.push([layout.x(start), words, isBad(outcome) ? colour.bad : colour.band]);
  }
  for (const [, own, kind, at, label] of marks.values()) {
    if (own !== track.name || !isShown(at, at, view)) continue;
    const drawn = paintMark(brush, track, kind, layout.x(at));
    if (!kind.startsWith("beat")) labels.push([layout.x(at), label, drawn]);
  }
  paintLabels(pen, labels, layout, track.lanes - 18);
}

function paintLabels(pen, labels, layout, y) {
  let free = 0;
  for (const [at, text, colour] of labels.sort((one, other) => one[0] - other[0])) {
    const wide = pen.measureText(text).width;
    const left = Math.max(4, Math.min(at, layout.width - wide - 6));
    if (left < free) continue;
    pen.fillStyle = colour;
    pen.fillText(text, left, y);
    free = left + wide + 10;
  }
}

function paintMark({ pen, colour, layout }, track, kind, x) {
  const y = track.lanes - 12;
  if (kind.startsWith("beat")) {
    pen.fillStyle = pen.strokeStyle = kind === "beat-failed" ? colour.bad : colour.soft;
    if (kind === "beat-failed") paintCross(pen, x, y, 3.5, 1.75);
    else pen.fillRect(x - 1, y - 5, 2, 10);
    return pen.fillStyle;
  }
  pen.fillStyle = kind === "adopted" ? colour.adopted : kind === "expired" ? colour.bad : colour.ink;
  pen.globalAlpha = 0.6;
  for (let at = y; at < track.bottom; at += 6) pen.fillRect(x - 0.5, at, 1, 3);
  pen.globalAlpha = 1;
  pen.beginPath();
  pen.moveTo(x, y - 5);
  pen.lineTo(x + 5, y);
  pen.lineTo(x, y + 5);
  if (kind === "adopted") pen.lineTo(x - 5, y);
  pen.fill();
  return pen.fillStyle;
}

function paintFlags({ pen, colour, font, layout, view }, marks) {
  const flags = [...marks.values()].filter(([, , kind, at]) => kind === "scenario" && isShown(at, at, view));
  pen.fillStyle = colour.ink;
  pen.globalAlpha = 0.6;
  for (const [, , , at] of flags) pen.fillRect(layout.x(at) - 0.5, layout.top, 1, layout.height);
  pen.globalAlpha = 1;
  pen.font = `600 12px ${font}`;
  pen.textBaseline = "alphabetic";
  paintLabels(pen, flags.map(([, , , at, label]) => [layout.x(at) + 5, label, colour.ink]), layout, layout.top + 13);
}

function bandLabel(outcome, label, lasted) {
  if (outcome === "running") return "refreshing…";
  if (outcome === "succeeded") return `refresh ${took(lasted)}`;
  if (outcome === "void") return "refresh dropped: somebody else was first";
  return outcome === "failed" ? `refresh failed: ${label}` : "refresh refused";
}

function isBad(outcome) {
  return outcome === "failed" || outcome === "ended";
}

function isShown(start, end, { from, to }) {
  return start <= to && end >= from;
}

function startOf(lane) {
  return (lane[4][0] ?? lane[5][0])[1];
}

function endOf(lane, now) {
  const last = lane[4].at(-1);
  if (last && last[2] === null) return now;
  return Math.max(last ? last[2] : 0, lane[5].at(-1)?.[1] ?? 0);
}

function took(seconds) {
  if (seconds < 0.0995) return `${+(seconds * 1000).toFixed(1)} ms`;
  return seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${+seconds.toFixed(1)} s`;
}
