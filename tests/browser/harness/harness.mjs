// Boots plain Pyodide with the library from /site.zip, and runs the Python that a test sends.
import { loadPyodide } from "/vendor/pyodide/pyodide.mjs";

delete WebAssembly.Suspending; // as the page does, see boot.js

const running = new Map();
const starting = new BroadcastChannel("freshfetch-test-harness");
const booting = boot();

async function boot() {
  const [pyodide, site] = await Promise.all([loadPyodide(), read("/site.zip")]);
  pyodide.unpackArchive(site, "zip", { extractDir: "/site" });
  pyodide.runPython("import sys; sys.path.insert(0, '/site')");
  return pyodide.pyimport("tests.browser.harness.inside").Namespace();
}

async function read(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  return response.arrayBuffer();
}

function signal() {
  return new Promise((resolve) => starting.addEventListener("message", resolve, { once: true }));
}

// Resolves to text: {"value": ...} or {"error": a traceback}.
async function runPython(source, variables = {}) {
  const namespace = await booting;
  return namespace.run(source, JSON.stringify(variables));
}

window.harness = {
  booted: booting.then(() => true),
  start: (id, source, variables) => void running.set(id, runPython(source, variables)),
  startOnSignal: (id, source, variables) => void running.set(id, signal().then(() => runPython(source, variables))),
  // A BroadcastChannel does not hear itself; a second one is heard in this window too.
  sendSignal: () => new BroadcastChannel(starting.name).postMessage("start"),
  result: (id) => running.get(id).finally(() => running.delete(id)),
};
window.runPython = runPython;
