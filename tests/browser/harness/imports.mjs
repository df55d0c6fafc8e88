// node imports.mjs BUILD SCRIPT: runs Python in Pyodide with Python's archive and the server of a built site.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { gunzipSync } from "node:zlib";
import { loadPyodide } from "pyodide";

const [build, script] = process.argv.slice(2);
const bytes = async (name) => new Uint8Array(await readFile(`${build}/${name}`));
const folder = await mkdtemp(`${tmpdir()}/site-`);
const library = `${folder}/python_stdlib.zip`;
await writeFile(library, gunzipSync(await bytes("vendor/pyodide/python_stdlib.zip.packed")));
const pyodide = await loadPyodide({ stdLibURL: library });
await rm(folder, { recursive: true });
pyodide.unpackArchive(await bytes("server.zip"), "zip", { extractDir: "/server" });
pyodide.runPython(`import sys; sys.path.insert(0, "/server")`);
try {
  pyodide.runPython(await readFile(script, "utf8"));
} catch (error) {
  console.error(error.message); // the rest of it is Pyodide's own program
  process.exitCode = 1;
}
