// Until Python is there: say how far it is, and remember what the person did meanwhile.
(() => {
  "use strict";

  // Chromium crashes now and then when it collects garbage while Python runs on a stack of its own, and nothing here
  // needs Python to have one. Without this it has none.
  delete window.WebAssembly?.Suspending;

  const root = document.documentElement;
  const isReady = () => root.dataset.ready === "true";

  // How far PyScript's own reports are on the way, in percent, and in plain words.
  const STEPS = {
    "Loading Pyodide": [12, "Fetching Python"],
    "Loading interpreter": [18, "Fetching Python"],
    "Loaded interpreter": [66, "Python is there. Fetching the app"],
    "Loaded files": [88, "Starting the app"],
    "Loaded Pyodide": [92, "Starting the app"],
  };
  // What the big files are of the way from FETCHING on: by their bytes while they come, where the page is told of
  // them (data-bytes says how many there are), else when they have come.
  const FETCHING = 18;
  const FETCHED = 64;
  const CONFIG = /^pyscript\.(json|toml)$/;
  const FILES = { "pyodide.asm.wasm": 24, "python_stdlib.zip": 16, "pyodide.asm.mjs": 6 };

  let reported = 4;
  let come = 0; // of FETCHED - FETCHING
  let bytes = 0;
  let words = "Starting";

  const megabytes = (count) => (count / 1e6).toFixed(1);
  const draw = () => {
    const bar = document.getElementById("boot-progress");
    if (!bar || isReady()) return;
    const total = Number(bar.dataset.bytes);
    const part = total ? ((FETCHED - FETCHING) * bytes) / total : come;
    bar.value = Math.max(bar.value, reported, Math.min(FETCHED, FETCHING + part));
    const count = bytes && bytes < total ? `, ${megabytes(bytes)} of ${megabytes(total)} MB` : "";
    const step = document.getElementById("boot-step");
    if (step.textContent !== words + count) step.textContent = words + count;
  };

  addEventListener("py:progress", ({ detail }) => {
    if (!(detail in STEPS)) return;
    [reported, words] = STEPS[detail];
    draw();
  });
  new PerformanceObserver((list) => {
    for (const { name, responseStatus } of list.getEntries()) {
      const file = name.slice(name.lastIndexOf("/") + 1);
      come += FILES[file] ?? 0;
      if (CONFIG.test(file) && responseStatus >= 400) fail(); // PyScript tells nobody
    }
    draw();
  }).observe({ type: "resource", buffered: true });

  const fail = () => {
    if (document.readyState === "loading") return addEventListener("DOMContentLoaded", fail);
    if (isReady()) return;
    for (const each of ["boot", "sign-in-view"]) document.getElementById(each).hidden = true;
    document.getElementById("boot-failed").hidden = false;
  };
  // The runtime could not be loaded: by a script that the page names, or by one that it asks for later. Where the browser
  // refuses storage PyScript is told by an event, and nothing has failed.
  addEventListener("error", ({ target }) => target.localName === "script" && fail(), true);
  addEventListener("unhandledrejection", ({ reason }) => reason instanceof Event || fail());
  // Where the interpreter does not come, or does not compile, Pyodide waits for ever and only the console is told.
  const instantiate = window.WebAssembly?.instantiateStreaming;
  if (instantiate) {
    window.WebAssembly.instantiateStreaming = (...given) => {
      const made = instantiate.apply(window.WebAssembly, given);
      made.catch(fail);
      return made;
    };
  }
  new PerformanceObserver((list) => {
    for (const { detail } of list.getEntriesByName("freshfetch:fetched")) bytes += detail; // in a built site
    if (list.getEntriesByName("freshfetch:failed").length) fail(); // the runtime, in a built site
    draw();
  }).observe({ type: "mark", buffered: true });
  addEventListener("py:done", fail); // the app never ends by itself, unless by an error

  // When nothing more is needed, the service worker of a built site keeps what was fetched for the next visit.
  const keep = () => isReady() && navigator.serviceWorker.ready.then(({ active }) => active.postMessage("keep"));
  if (navigator.serviceWorker) {
    new MutationObserver(keep).observe(root, { attributeFilter: ["data-ready"] });
    navigator.serviceWorker.addEventListener("controllerchange", keep);
  }

  // PyScript looks for kept packages before it starts Python, and does not start it where a browser refuses storage.
  // There it finds that none are kept. Whatever else asks for a database is refused it as before.
  function withoutStorage() {
    const request = (result) => {
      const made = { result };
      setTimeout(() => made.onsuccess({ target: made }));
      return made;
    };
    const kept = { getAllKeys: () => request([]), clear: () => request() };
    const database = { transaction: () => ({ objectStore: () => kept }), close() {} };
    const open = IDBFactory.prototype.open;
    IDBFactory.prototype.open = function (name, ...given) {
      return name.startsWith("IDBMap/") ? request(database) : open.call(this, name, ...given);
    };
  }

  // Somebody who was signed in is shown no sign-in form while Python finds out whether they still are.
  try {
    if (localStorage.getItem("freshfetch.page.returning")) root.dataset.returning = "true";
  } catch {
    withoutStorage(); // Python will say so
  }

  document.addEventListener("submit", (event) => {
    event.preventDefault();
    if (isReady() || event.target.id !== "sign-in-form") return;
    event.target.dataset.pressed = "true";
    document.getElementById("sign-in-button").setAttribute("aria-busy", "true");
    document.getElementById("boot-early").hidden = false;
  });

  document.addEventListener("click", ({ target }) => {
    const person = target.closest?.("[data-username]");
    if (!person) return;
    document.getElementById("username").value = person.dataset.username;
    document.getElementById("password").value = person.dataset.password;
    document.getElementById("sign-in-button").focus();
  });
})();
