// node compile.mjs FUNCTION FOLDER: runs a function of compiling.py in Pyodide, whose Python is the one that a page has.
// FOLDER is what it works in.
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { loadPyodide } from "pyodide";

const [name, folder] = process.argv.slice(2);
// Bytecode without columns is a quarter smaller; tracebacks still say lines.
const pyodide = await loadPyodide({ args: ["-X", "no_debug_ranges"] });
pyodide.FS.mkdirTree("/folder");
pyodide.mountNodeFS("/folder", resolve(folder));
const namespace = pyodide.toPy({ __name__: "compiling" });
const source = await readFile(new URL("compiling.py", import.meta.url), "utf8");
pyodide.runPython(source, { globals: namespace, filename: "compiling.py" });
pyodide.runPython(`${name}(Path("/folder"))`, { globals: namespace });
