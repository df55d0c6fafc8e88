// What Pyodide's own program takes for `fetch` and `WebAssembly` in a built site. The two big files lie compressed,
// whatever the host does, and are unpacked while they arrive. The interpreter is compiled meanwhile, from the moment in
// which this file is there. Marks tell the page what has arrived, and what will not: Pyodide itself waits for ever then.

// As in boot.js, which may run later than this.
delete globalThis.WebAssembly.Suspending;

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

async function* arriving(url, arrived) {
  try {
    const response = await globalThis.fetch(url);
    if (!response.ok) throw new TypeError(`${url}: ${response.status}`);
    for (const reader = response.body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) return arrived(url);
      tell("fetched", value.byteLength);
      yield value;
    }
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

const unpacked = (url, arrived = () => {}) => {
  const body = streamed(arriving(`${url}.packed`, arrived)).pipeThrough(new DecompressionStream("gzip"));
  return new Response(body, { headers: { "Content-Type": TYPES[url.split(".").pop()] } });
};

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

/** Lets the page do something else for a moment: what is pressed, or typed, while Python starts. */
export const breath = () => new Promise((resolve) => setTimeout(resolve));

const opened = async (url, arrived) => (await kept(url)) ?? painted.then(() => unpacked(url, arrived));

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
