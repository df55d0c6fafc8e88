// Starts Python in a built site, from the moment in which this file is there: what PyScript, and the server inside the
// browser, take for pyodide.mjs. See docs/decisions/0011-python-from-an-image.md.
import { arrived } from "./unpack.mjs";
import { loadPyodide as load, version } from "./core.mjs";

const HERE = new URL(".", import.meta.url).href;
const SOON = 500; // milliseconds

// The image takes about as long to fetch as the interpreter did, and saves about half a second of work.
const isWorthIt = () =>
  Promise.race([
    arrived.then(() => !navigator.connection?.saveData),
    new Promise((resolve) => setTimeout(resolve, SOON, false)),
  ]);

// Nobody should have to look at an empty page because Python is busy starting.
const painted = async () => {
  if (!globalThis.document) return;
  if (document.readyState === "loading") await new Promise((resolve) => addEventListener("DOMContentLoaded", resolve));
  if (document.visibilityState === "visible") await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
};

const image = async () => {
  const { ok, body } = await fetch(`${HERE}python.image.packed`);
  if (!ok) throw new TypeError("there is no image");
  return new Response(body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
};

const fromImage = async (taken) => {
  const pyodide = await load({ indexURL: HERE, _loadSnapshot: taken, _snapshotDeserializer: (value) => value });
  // What was true of the Python that the image was taken of, and is not of this one.
  pyodide.runPython("import random, time; random.seed(); time.tzset()");
  performance.mark("freshfetch:from image");
  return pyodide;
};

const start = async () => {
  const taking = isWorthIt().then((isQuick) => isQuick && image().catch(() => null));
  const [taken] = await Promise.all([taking, import("./pyodide.asm.mjs"), painted()]);
  return taken ? fromImage(taken).catch(() => load({ indexURL: HERE })) : load({ indexURL: HERE });
};

const python = start();

/** Return the one Python of this page, or worker. Where it lies is known, so of the options only these two count. */
export const loadPyodide = async ({ stdout, stderr } = {}) => {
  const pyodide = await python;
  if (stdout) pyodide.setStdout({ batched: stdout });
  if (stderr) pyodide.setStderr({ batched: stderr });
  return pyodide;
};
export { version };
