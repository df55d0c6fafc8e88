// Of the page that is one file: starts Python and the page from what lies in the file. Nothing is fetched.
//
// tools/single_page.py puts three functions before this, each made of a module: `pyodide` (takes the `fetch` that it
// uses), `interpreter`, `timeline`.
const BASE = "https://freshfetch.invalid/"; // no such host can exist; Pyodide wants to know where it comes from
const TYPES = { wasm: "application/wasm", zip: "application/zip" };

const tell = (kind, detail) => dispatchEvent(new CustomEvent(kind, { detail }));

function taken(name) {
  const element = document.getElementById(`file:${name}`);
  element.remove(); // some megabytes that nobody needs twice
  return element.textContent;
}

function decoded(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let index = 0; index < bytes.length; index++) bytes[index] = characters.charCodeAt(index);
  return bytes;
}

function inside(address) {
  const name = String(address).replace(BASE, "");
  const packed = new Blob([decoded(taken(name))]).stream();
  const headers = { "Content-Type": TYPES[name.split(".").pop()] };
  return Promise.resolve(new Response(packed.pipeThrough(new DecompressionStream("gzip")), { headers }));
}

async function python({ lock }) {
  const { loadPyodide } = pyodide(inside);
  const runtime = await loadPyodide({
    indexURL: BASE,
    packageBaseUrl: BASE,
    lockFileContents: lock,
    createPyodideModule: interpreter().default,
  });
  runtime.unpackArchive(decoded(taken("server.zip")), "zip", { extractDir: "/server" });
  runtime.runPython("import sys; sys.path.insert(0, '/server')");
  return runtime;
}

// What the page has from PyScript elsewhere.
const pyscript = (config) => ({
  config,
  js_import: async (...names) => names.map((name) => ({ "inside:timeline.js": timeline })[name]()),
});

try {
  await freshfetchServer.reachable;
  tell("py:progress", "Loading interpreter");
  const settings = JSON.parse(taken("settings.json"));
  const runtime = await python(settings);
  tell("py:progress", "Loaded files");
  runtime.registerJsModule("pyscript", pyscript(runtime.toPy({ freshfetch: settings.freshfetch })));
  await runtime.runPythonAsync(taken("main.py"), { filename: "app/main.py" });
  tell("py:done");
} catch {
  performance.mark("freshfetch:failed");
}
