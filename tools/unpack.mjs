// What Pyodide's own program takes for `fetch` and `WebAssembly` in a built site. The two big files lie compressed,
// whatever the host does, and are unpacked while they arrive. The interpreter is compiled meanwhile, from the moment in
// which this file is there. Marks tell the page what has arrived, and what will not: Pyodide itself waits for ever then.

// As in boot.js, which may run later than this.
delete globalThis.WebAssembly.Suspending;

const LONG = 25; // milliseconds of work after which the page gets its turn
const PIECE = 65_536; // bytes, which are unpacked within a few milliseconds
const TYPES = { wasm: "application/wasm", zip: "application/zip" };

// The page may begin to listen later than this begins to fetch: a mark is there to be found.
const tell = (what, detail) => performance.mark(`freshfetch:${what}`, { detail });

const { promise: broken, reject } = Promise.withResolvers();
broken.catch(() => {}); // for whoever waits for Python
const fail = (error) => {
  tell("failed", null);
  reject(error);
  throw error;
};

/** Rejects when there will be no Python. */
export { broken };

let breathed = 0;
const turns = [];
const { port1: next, port2: end } = new MessageChannel();
next.onmessage = () => {
  breathed = performance.now();
  turns.shift()();
};

/**
 * Lets the page do something else for a moment: what is pressed, or typed, while Python starts. Not by a timer, of which
 * a page that is hidden gets one in a second.
 */
export const breath = () =>
  new Promise((resolve) => {
    turns.push(resolve);
    end.postMessage(null);
  });

// What has been read is unpacked at once, and a host may send much at once.
async function* pieces(body, told = () => {}) {
  for (const reader = body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) return;
    told(value.byteLength);
    for (let begin = 0; begin < value.byteLength; begin += PIECE) {
      if (performance.now() - breathed > LONG) await breath();
      yield value.subarray(begin, begin + PIECE);
    }
  }
}

async function* arriving(url, arrived) {
  try {
    const response = await globalThis.fetch(url);
    if (!response.ok) throw new TypeError(`${url}: ${response.status}`);
    yield* pieces(response.body, (count) => tell("fetched", count));
    arrived(url);
  } catch (error) {
    fail(error);
  }
}

const streamed = (chunks) =>
  new ReadableStream({
    async pull(stream) {
      const { done, value } = await chunks.next();
      if (done) stream.close();
      else stream.enqueue(value);
    },
  });

/** Gives what a stream of packed bytes holds, as a response. */
const unpacked = (chunks, type) =>
  new Response(streamed(chunks).pipeThrough(new DecompressionStream("gzip")), { headers: { "Content-Type": type } });

/** Gives what a packed body holds; `told` is called with the number of bytes that have come. */
export const unpack = (body, told) => unpacked(pieces(body, told), "").arrayBuffer();

/** Gives what the service worker has kept, which is unpacked already; undefined where it has not, or is not there. */
export const kept = async (url) => globalThis.caches?.match(url).catch(() => undefined);

/** Resolves when the page has been seen: nobody should have to look at an empty one because Python is on its way. */
export const painted = (async () => {
  if (!globalThis.document) return;
  if (document.readyState === "loading") await new Promise((resolve) => addEventListener("DOMContentLoaded", resolve));
  if (document.visibilityState === "hidden") return;
  await new Promise((resolve) => {
    requestAnimationFrame(() => setTimeout(resolve));
    setTimeout(resolve, 1000); // it may be hidden before it was painted
  });
})();

const opened = async (url, arrived = () => {}) =>
  (await kept(url)) ?? painted.then(() => unpacked(arriving(`${url}.packed`, arrived), TYPES[url.split(".").pop()]));

const [INTERPRETER, LIBRARY] = ["pyodide.asm.wasm", "python_stdlib.zip"].map((name) => new URL(name, import.meta.url).href);
const { promise: arrived, resolve } = Promise.withResolvers();
const compiled = globalThis.WebAssembly.compileStreaming(opened(INTERPRETER, resolve));
const library = opened(LIBRARY);

/** Resolves when the last byte of the interpreter has come by the line, to the address it has come from. */
export { arrived };

/** Gives the compiled interpreter for its answer: it goes to `instantiateStreaming` below and nowhere else. */
export const fetch = async (resource, options) => {
  const url = String(resource);
  if (url === INTERPRETER) return compiled;
  if (url !== LIBRARY) return globalThis.fetch(resource, options);
  return (await library).clone();
};

export const WebAssembly = Object.create(globalThis.WebAssembly, {
  instantiateStreaming: {
    value: async (compiling, imports) => {
      const module = await compiling.catch(fail);
      const instance = await globalThis.WebAssembly.instantiate(module, imports).catch(fail);
      await breath();
      return { module, instance };
    },
  },
});
