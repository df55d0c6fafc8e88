// Until Python is there: say how far it is, and remember what the person did meanwhile.
(() => {
  "use strict";

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
  // What the big files bring while one report is long in coming.
  const FILES = { "pyodide.asm.wasm": 24, "python_stdlib.zip": 16, "pyodide.asm.mjs": 6 };

  let reported = 4;
  let fetched = 0;
  let words = "Starting";

  const draw = () => {
    const bar = document.getElementById("boot-progress");
    if (!bar || isReady()) return;
    bar.value = Math.max(bar.value, reported, Math.min(64, 18 + fetched));
    const step = document.getElementById("boot-step");
    if (step.textContent !== words) step.textContent = words;
  };

  addEventListener("py:progress", ({ detail }) => {
    if (!(detail in STEPS)) return;
    [reported, words] = STEPS[detail];
    draw();
  });

  new PerformanceObserver((list) => {
    for (const { name } of list.getEntries()) fetched += FILES[name.slice(name.lastIndexOf("/") + 1)] ?? 0;
    draw();
  }).observe({ type: "resource", buffered: true });

  const fail = () => {
    if (isReady()) return;
    for (const each of ["boot", "sign-in-view"]) document.getElementById(each).hidden = true;
    document.getElementById("boot-failed").hidden = false;
  };
  addEventListener("unhandledrejection", fail); // the runtime could not be loaded
  addEventListener("py:done", fail); // the app never ends by itself, unless by an error

  // Somebody who was signed in is shown no sign-in form while Python finds out whether they still are.
  try {
    if (localStorage.getItem("freshfetch.page.returning")) root.dataset.returning = "true";
  } catch {
    // Storage is refused: Python will say so.
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
