// The timeline's view: what is in it, which stretch of time it shows, and the hand, wheel and keys that move it.
// Loaded when the page can be used. Python says what there is (app/page/lanes.py); timeline-paint.js paints it.
import "../../vendor/d3/d3.min.js";
import { layOut, paint, say } from "./timeline-paint.js";

const { d3 } = globalThis;
const SHORTEST = 0.02; // seconds
const LONGEST = 900;
const SHORTEST_FOLLOWED = 0.12;
const LONGEST_FOLLOWED = 120;
const AXIS = 24; // pixels
const WALL_CLOCK = 60; // seconds in view from which the axis tells the time of day
const STEP = 1.5; // how much one press zooms
const SHIFT = 0.2; // of what is in view, by which one press moves it
const SLOP = 8; // pixels in which a finger has not made up its mind
const SMOOTH = 30; // milliseconds between two pictures of what goes on
const CALM = 250; // the same for those who asked for less motion

const isCalm = matchMedia("(prefers-reduced-motion: reduce)");
const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const now = () => Date.now() / 1000;

export function mount(panel) {
  const find = (name) => panel.querySelector(`#timeline-${name}`);
  const [view, canvas, axis, rest, readout, live] = ["view", "canvas", "axis", "rest", "readout", "live"].map(find);
  const items = { lanes: new Map(), bands: new Map(), marks: new Map() };
  const state = { from: 0, to: 1, origin: 0, isLive: true, episode: [0, 0, false], read: null, seen: false };
  let layout = null;
  let asked = 0;
  let painted = 0;

  // -- what is in it --

  function update(text) {
    const { lanes, bands, marks, gone, episode } = JSON.parse(text);
    for (const lane of lanes) items.lanes.set(lane[0], lane);
    for (const band of bands) items.bands.set(band[0], band);
    for (const mark of marks) items.marks.set(mark[0], mark);
    for (const id of gone) for (const kind of Object.values(items)) kind.delete(id);
    state.episode = episode;
    if (!state.isLive && episode[1] > state.to) live.dataset.news = true;
    ask();
  }

  function ask() {
    if (!asked && state.seen) asked = requestAnimationFrame(draw);
  }

  function draw(time) {
    asked = 0;
    const isGoingOn = state.isLive && state.episode[2];
    if (isGoingOn && time - painted < (isCalm.matches ? CALM : SMOOTH)) return ask();
    painted = time;
    if (state.isLive) follow();
    drawNow();
    if (isGoingOn) ask();
  }

  function drawNow() {
    const { clientWidth: width, clientHeight: height } = view;
    if (!width) return;
    layout = layOut(items, state, { width, height, top: AXIS });
    rest.style.height = `${Math.max(0, Math.ceil(layout.overflow))}px`;
    drawAxis(width, height);
    const shown = paint(canvas, items, layout, { ...state, scroll: view.scrollTop, panel, now: now() });
    Object.assign(view.dataset, shown, { live: state.isLive, from: state.from, to: state.to });
  }

  // Follow what happens: the latest spell of activity fills the view, and nothing moves when nothing happens.
  function follow() {
    const [since, until, isGoingOn] = state.episode;
    const end = isGoingOn ? Math.max(until, now()) : until;
    const start = Math.max(since, end - LONGEST_FOLLOWED);
    const span = Math.max(SHORTEST_FOLLOWED, end - start);
    Object.assign(state, { from: start - span * 0.05, to: start + span * 1.15, origin: since });
  }

  function drawAxis(width, height) {
    const span = state.to - state.from;
    const isWallClock = span > WALL_CLOCK;
    const domain = isWallClock
      ? [new Date(state.from * 1000), new Date(state.to * 1000)]
      : [state.from - state.origin, state.to - state.origin];
    const scale = (isWallClock ? d3.scaleTime() : d3.scaleLinear()).domain(domain).range([0, width]);
    const ticks = d3.axisTop(scale).ticks(Math.max(2, width / 110)).tickSize(AXIS - height).tickPadding(5);
    ticks.tickFormat(isWallClock ? (date) => clock.format(date) : duration);
    d3.select(axis).selectChildren("g").data([null]).join("g").attr("transform", `translate(0,${AXIS})`).call(ticks);
  }

  // -- moving it --

  function show(from, to) {
    const span = Math.min(LONGEST, Math.max(SHORTEST, to - from));
    const middle = (from + to) / 2;
    const { first, last } = extent();
    const start = Math.min(Math.max(middle - span / 2, first - span * 0.9), last - span * 0.1);
    Object.assign(state, { from: start, to: start + span });
    setLive(false);
  }

  function extent() {
    const starts = [...items.lanes.values()].map((lane) => (lane[4][0] ?? lane[5][0])[1]);
    const marks = [...items.marks.values()].map((mark) => mark[3]);
    const first = d3.min([...starts, ...marks]) ?? state.episode[0];
    return { first, last: state.episode[2] ? now() : Math.max(state.episode[1], d3.max(marks) ?? 0) };
  }

  function zoomBy(factor) {
    const middle = (state.from + state.to) / 2;
    const half = (state.to - state.from) / 2 / factor;
    show(middle - half, middle + half);
  }

  function moveBy(share) {
    const by = (state.to - state.from) * share;
    show(state.from + by, state.to + by);
  }

  function showAll() {
    const { first, last } = extent();
    const span = Math.max(SHORTEST_FOLLOWED, last - first);
    show(first - span * 0.04, first + span * 1.1);
  }

  function setLive(isLive) {
    state.isLive = isLive;
    live.textContent = isLive ? "Pause" : "Go live";
    if (isLive) delete live.dataset.news;
    panel.dataset.live = isLive;
    ask();
  }

  // -- the hand, the wheel, the keys --

  let before = d3.zoomIdentity;
  const zoom = d3
    .zoom()
    .filter((event) => (event.type === "wheel" ? mayZoom(event) : !event.button && !event.ctrlKey))
    .touchable(false)
    .on("zoom", ({ transform, sourceEvent }) => {
      const factor = transform.k / before.k;
      const shift = transform.x - factor * before.x;
      const up = transform.y - factor * before.y;
      before = transform;
      if (sourceEvent?.type.startsWith("mouse")) view.scrollTop -= up;
      if (factor === 1 && Math.abs(shift) < 0.01) return;
      const perPixel = (state.to - state.from) / view.clientWidth;
      const timeAt = (x) => state.from + ((x - shift) / factor) * perPixel;
      show(timeAt(0), timeAt(view.clientWidth));
    })
    .on("end", () => {
      before = view.__zoom = d3.zoomIdentity; // the view keeps its own account
    });
  d3.select(view).call(zoom).on("dblclick.zoom", null);

  // A finger moves it sideways. Up and down it scrolls, as everywhere: then the browser takes the pointer away.
  let finger = null;
  view.addEventListener("pointerdown", ({ pointerType, isPrimary, pointerId, clientX }) => {
    if (pointerType === "touch") finger = isPrimary ? { pointerId, clientX } : null;
  });
  view.addEventListener("pointermove", ({ pointerId, clientX }) => {
    if (pointerId !== finger?.pointerId) return;
    const by = finger.clientX - clientX;
    if (!finger.moves && Math.abs(by) < SLOP) return;
    finger = { pointerId, clientX, moves: true };
    moveBy(by / view.clientWidth);
  });
  view.addEventListener("pointerup", (event) => {
    if (event.pointerId === finger?.pointerId && !finger.moves) readAt(event);
  });
  for (const end of ["pointerup", "pointercancel"]) view.addEventListener(end, () => (finger = null));

  // A wheel that turns over the timeline on its way down the page is not meant for it.
  function mayZoom(event) {
    return event.ctrlKey || event.metaKey || (view === document.activeElement && !isSideways(event));
  }

  function isSideways(event) {
    return event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
  }

  view.addEventListener(
    "wheel",
    (event) => {
      if (!isSideways(event) || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      moveBy((event.deltaX || event.deltaY) / view.clientWidth);
    },
    { passive: false },
  );

  const KEYS = {
    "+": () => zoomBy(STEP),
    "=": () => zoomBy(STEP),
    "-": () => zoomBy(1 / STEP),
    "−": () => zoomBy(1 / STEP),
    ArrowLeft: () => moveBy(-SHIFT),
    ArrowRight: () => moveBy(SHIFT),
    ArrowUp: () => readNext(-1),
    ArrowDown: () => readNext(1),
    " ": () => setLive(!state.isLive),
    Home: showAll,
    End: () => setLive(true),
  };

  view.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in KEYS)) return;
    event.preventDefault();
    KEYS[event.key]();
  });

  function read(lane) {
    if (state.read === lane) return;
    state.read = lane;
    readout.textContent = lane ? say(items.lanes.get(lane)) : "";
    ask();
  }

  function readAt(event) {
    const [x, y] = d3.pointer(event, view);
    if (layout) read(layout.laneAt(x, y + view.scrollTop)?.[0] ?? null);
  }

  function readNext(step) {
    if (!layout) return;
    const shown = layout.shown.map((lane) => lane[0]);
    const at = shown.indexOf(state.read);
    const next = at < 0 ? (step > 0 ? 0 : shown.length - 1) : Math.min(shown.length - 1, Math.max(0, at + step));
    if (!(next in shown)) return;
    read(shown[next]);
    view.scrollTop = layout.scrollTo(items.lanes.get(shown[next]), view.scrollTop);
  }

  view.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse") readAt(event);
  });
  view.addEventListener("pointerleave", ({ pointerType }) => pointerType === "mouse" && read(null));
  view.addEventListener("scroll", ask, { passive: true });

  live.addEventListener("click", () => setLive(!state.isLive));
  find("earlier").addEventListener("click", () => moveBy(-SHIFT));
  find("later").addEventListener("click", () => moveBy(SHIFT));
  find("in").addEventListener("click", () => zoomBy(STEP));
  find("out").addEventListener("click", () => zoomBy(1 / STEP));
  find("all").addEventListener("click", showAll);

  // -- when it is drawn --

  new IntersectionObserver(([{ isIntersecting }]) => {
    state.seen = isIntersecting;
    ask();
  }).observe(view);
  new ResizeObserver(ask).observe(view);
  for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)"]) {
    matchMedia(query).addEventListener("change", ask);
  }
  setLive(true);
  return { update };
}

function duration(seconds) {
  const size = Math.abs(seconds);
  const sign = seconds < 0 && size > 1e-9 ? "−" : "";
  if (size < 1e-9) return "0";
  return size < 0.9995 ? `${sign}${+(size * 1000).toFixed(1)} ms` : `${sign}${+size.toFixed(3)} s`;
}
