// Stands before Pyodide's own program in pyodide.mjs of a built site, and is what it calls `fetch` there. The two big
// files lie compressed, whatever the host does; they are unpacked while they arrive, so WebAssembly still compiles
// meanwhile. The page is told what has arrived, and what will not: Pyodide itself waits for ever then.
const fetch = (() => {
  const TYPES = { wasm: "application/wasm", zip: "application/zip" };

  const tell = (what, detail) => dispatchEvent(new CustomEvent(`freshfetch:${what}`, { detail }));

  async function* arriving(url) {
    try {
      const response = await globalThis.fetch(url);
      if (!response.ok) throw new TypeError(`${url}: ${response.status}`);
      for (const reader = response.body.getReader(); ; ) {
        const { done, value } = await reader.read();
        if (done) return;
        tell("fetched", value.byteLength);
        yield value;
      }
    } catch (error) {
      tell("failed", error);
      throw error;
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

  const unpacked = async (url, type) => {
    const body = streamed(arriving(`${url}.packed`)).pipeThrough(new DecompressionStream("gzip"));
    return new Response(body, { headers: { "Content-Type": type } });
  };

  return (resource, options) => {
    const type = TYPES[String(resource).split(".").pop()];
    return type ? unpacked(resource, type) : globalThis.fetch(resource, options);
  };
})();

