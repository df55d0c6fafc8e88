// node compile.mjs STAGE: runs compiling.py in Pyodide, whose Python is the one that a page has. STAGE is a folder with
// the sources, and gets the archives.
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { loadPyodide } from "pyodide";

const stage = resolve(process.argv[2]);
// Bytecode without columns is a quarter smaller; tracebacks still say lines.
const pyodide = await loadPyodide({ args: ["-X", "no_debug_ranges"] });
pyodide.FS.mkdirTree("/stage");
pyodide.mountNodeFS("/stage", stage);
const namespace = pyodide.toPy({ __name__: "compiling" });
const source = await readFile(new URL("compiling.py", import.meta.url), "utf8");
pyodide.runPython(source, { globals: namespace, filename: "compiling.py" });
pyodide.runPython("main(Path('/stage'))", { globals: namespace });
