// Runs the mock server in Python: a shared worker for all tabs or, where there is none, a worker of the tab that holds
// the lock. Whoever waits for the lock costs nothing; whoever has it reads what was saved and goes on from there.
delete WebAssembly.Suspending; // see boot.js

const FILES = new URL("../../", import.meta.url);
const NAME = self.name; // says which site this serves
const HOST = crypto.randomUUID();
const STORE = "state";
const REMEMBERED = 10_000; // requests that have been taken: none is taken twice
const FRESH = 1_000; // milliseconds; what was posted before may have been given up, and is posted again if it was not
const LONGEST_START = 300_000; // milliseconds, on a line of any length

const channel = new BroadcastChannel(NAME);
const tell = (id, part, more = {}) => channel.postMessage({ id, part, host: HOST, ...more });

function end() {
  self.postMessage?.("ended"); // to the tab whose worker this is; a shared one has none
  close();
}

// ---- what is kept ----

const done = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = request.oncomplete = () => resolve(request.result);
    request.onerror = request.onabort = () => reject(request.error);
  });

async function open() {
  const opening = indexedDB.open(NAME, 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
  const opened = await done(opening);
  // The person has cleared the data of this site: the locks went with it, and what is known here should go, too.
  opened.onclose = opened.onversionchange = end;
  return opened;
}

async function kept() {
  try {
    const database = await open();
    const text = await done(database.transaction(STORE).objectStore(STORE).get(STORE));
    return { text: text ?? "", save: (changed) => write(database, changed) };
  } catch {
    return { text: "", save: () => {} }; // storage is refused: memory has to do
  }
}

function write(database, text) {
  const writing = database.transaction(STORE, "readwrite");
  writing.objectStore(STORE).put(text, STORE);
  return done(writing);
}

// ---- the server ----

// Where the interpreter does not come, or does not compile, Pyodide waits for ever: this hears of it.
const { promise: broken, reject: fail } = Promise.withResolvers();
const instantiate = WebAssembly.instantiateStreaming;
WebAssembly.instantiateStreaming = (...given) => {
  const made = instantiate.apply(WebAssembly, given);
  made.catch(fail);
  return made;
};

async function unpacked() {
  const [{ loadPyodide }, archive] = await Promise.all([import(new URL("vendor/pyodide/pyodide.mjs", FILES)), fetched()]);
  const pyodide = await loadPyodide();
  pyodide.unpackArchive(archive, "zip", { extractDir: "/server" });
  pyodide.runPython("import sys; sys.path.insert(0, '/server')");
  return pyodide;
}

async function fetched() {
  const response = await fetch(new URL("server.zip", FILES));
  if (!response.ok) throw new Error(`server.zip: ${response.status}`);
  return response.arrayBuffer();
}

function post(id, part, head, content) {
  const bytes = content.length ? content.toJs() : null;
  tell(id, part, { ...(head ? JSON.parse(head) : {}), content: bytes });
}

async function started() {
  const [pyodide, { text, save }] = await Promise.all([unpacked(), kept()]);
  return { pyodide, server: pyodide.pyimport("mock_server.embedded").start(post, save, text) };
}

function listener({ pyodide, server }) {
  const taken = new Set();
  return ({ id, part, head, body, at }) => {
    if (part === "give up") return server.give_up(id);
    if (part !== "ask" || Date.now() - at > FRESH) return;
    tell(id, "taken");
    if (taken.has(id)) return;
    taken.add(id);
    if (taken.size > REMEMBERED) taken.delete(taken.values().next().value);
    server.take(id, head, pyodide.toPy(new Uint8Array(body)));
  };
}

async function serve() {
  channel.onmessage = ({ data }) => data.part === "ask" && tell(data.id, "starting");
  setTimeout(fail, LONGEST_START, new Error("the server takes too long to start"));
  const listen = listener(await Promise.race([started(), broken]));
  channel.onmessage = ({ data }) => listen(data);
  return new Promise(() => {}); // holds the locks for as long as this lives
}

// The lock of its own first: who hears from a host can tell from it when the host has ended.
navigator.locks
  .request(`${NAME} ${HOST}`, () => navigator.locks.request(NAME, serve))
  .catch(() => tell("", "failed"))
  .finally(end); // it could not start: the next may try
