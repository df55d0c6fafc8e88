// Starts Python in a built site, from the moment in which this file is there: what PyScript, and the server inside the
// browser, take for pyodide.mjs. See docs/decisions/0011-python-from-an-image.md.
import { arrived, breath, broken, kept, painted, unpack } from "./unpack.mjs";
import { loadPyodide as load, version } from "./core.mjs";

const HERE = new URL(".", import.meta.url).href;
const IMAGE = `${HERE}python.image`;
const QUICK = 500; // milliseconds
const PATIENCE = 3_000; // milliseconds without a byte of what is not needed

// The image takes about as long to fetch as the interpreter did, and saves about half a second of work.
const isLineQuick = async () => {
  await painted;
  const tooLong = new Promise((resolve) => setTimeout(resolve, QUICK, ""));
  const [interpreter] = performance.getEntriesByName(await Promise.race([arrived, tooLong]));
  return interpreter?.duration < QUICK && !navigator.connection?.saveData;
};

const fetched = async () => {
  const asking = new AbortController();
  let silence;
  const goOn = () => {
    clearTimeout(silence);
    silence = setTimeout(() => asking.abort(), PATIENCE);
  };
  goOn();
  try {
    const { ok, body } = await fetch(`${IMAGE}.packed`, { signal: asking.signal });
    if (!ok) throw new TypeError("there is no image");
    return await unpack(body, goOn);
  } finally {
    clearTimeout(silence);
  }
};

const image = async () => {
  try {
    const found = await kept(IMAGE);
    if (found) return await found.arrayBuffer();
    return (await isLineQuick()) ? await fetched() : null;
  } catch {
    return null;
  }
};

// What was true of the Python that the image was taken of, and is not of this one: chance, and the time zone.
const AWAKE = `
import random, time
random.seed()
year = time.localtime().tm_year
halves = [time.localtime(time.mktime((year, month, 1, 12, 0, 0, 0, 0, 0))) for month in (1, 7)]
standard, summer = sorted(halves, key=lambda half: half.tm_gmtoff)
time.timezone, time.altzone = -standard.tm_gmtoff, -summer.tm_gmtoff
time.daylight, time.tzname = int(time.timezone != time.altzone), (standard.tm_zone, summer.tm_zone)
`;

const fromImage = async (taken) => {
  const pyodide = await load({ indexURL: HERE, _loadSnapshot: taken, _snapshotDeserializer: (value) => value });
  await breath();
  pyodide.runPython(AWAKE, { globals: pyodide.toPy({}) });
  performance.mark("freshfetch:from image");
  return pyodide;
};

const start = async () => {
  const [taken] = await Promise.all([image(), painted.then(() => import("./pyodide.asm.mjs"))]);
  return taken ? fromImage(taken).catch(() => load({ indexURL: HERE })) : load({ indexURL: HERE });
};

const python = Promise.race([start(), broken]);

/** Return the one Python of this page, or worker. Where it lies is known, so of the options only these two count. */
export const loadPyodide = async ({ stdout, stderr } = {}) => {
  const pyodide = await python;
  if (stdout) pyodide.setStdout({ batched: stdout });
  if (stderr) pyodide.setStderr({ batched: stderr });
  return pyodide;
};
export { version };
