// Stands before Pyodide's own program in pyodide.mjs of a built site, and is what it calls `fetch` there. The two big
// files lie compressed, whatever the host does; they are unpacked while they arrive, so WebAssembly still compiles
// meanwhile. What has arrived is told to the page.
const fetch = (() => {
  const TYPES = { wasm: "application/wasm", zip: "application/zip" };

  const counted = () =>
    new TransformStream({
      transform(chunk, stream) {
        dispatchEvent(new CustomEvent("freshfetch:fetched", { detail: chunk.byteLength }));
        stream.enqueue(chunk);
      },
    });

  const unpacked = async (url, type) => {
    const response = await globalThis.fetch(`${url}.packed`);
    if (!response.ok) return response;
    const body = response.body.pipeThrough(counted()).pipeThrough(new DecompressionStream("gzip"));
    return new Response(body, { headers: { "Content-Type": type } });
  };

  return (resource, options) => {
    const type = TYPES[String(resource).split(".").pop()];
    return type ? unpacked(resource, type) : globalThis.fetch(resource, options);
  };
})();

