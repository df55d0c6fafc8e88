// node image.mjs STAGE: writes STAGE/python.image, the memory of a Python that has imported all modules of STAGE/app.
// A page that starts from it has no module left to import. Whatever this process knows could get into the image: it is
// told nothing.
import { writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { loadPyodide } from "pyodide";

const stage = resolve(process.argv[2]);
process.argv[1] = "python"; // what Pyodide calls its program

const pyodide = await loadPyodide({
  _makeSnapshot: true,
  stdLibURL: `${stage}/python_stdlib.zip`,
  env: { PYTHONHASHSEED: "0" },
});
pyodide.FS.mkdirTree("/stage");
pyodide.mountNodeFS("/stage", stage);
const SCRIPT = `
def import_all():
    import gc, importlib, pathlib, random, sys

    folder = pathlib.Path("/stage/app")
    for path in sorted(folder.rglob("*.py")):
        name = path.relative_to(folder).with_suffix("").as_posix()
        importlib.import_module(name.removesuffix("/__init__").replace("/", "."))
    sys.path_importer_cache.clear()
    random.seed(0)  # the same modules are the same image; the page seeds it anew
    gc.collect()

import_all()
del import_all
`;
// Of what JavaScript made for a module while it was imported only plain arrays can be made again from JSON.
const serializer = (value) => {
  if (Array.isArray(value)) return value;
  throw new TypeError(`a module keeps something of JavaScript's from its import on: ${value}`);
};
try {
  pyodide.runPython(SCRIPT);
  await writeFile(`${stage}/python.image`, pyodide.makeMemorySnapshot({ serializer }));
} catch (error) {
  console.error(error.message); // the rest of it is Pyodide's own program
  process.exitCode = 1;
}
