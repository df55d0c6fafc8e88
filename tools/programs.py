"""Programs: Pyodide's and PyScript's own, as a built site has them. They are changed in a few places.

Pyodide starts in one go, a third of a second in which nobody sees what they type. In a site it stops between the steps
of that for the moment that ``breath`` in unpack.mjs takes, and fetches and compiles by way of that file.

PyScript brings its package ``pyscript`` as sources, which it has Python write into files at each start. In a site the
package lies in Python's archive, compiled.

The versions are pinned: where something is not found, the build ends.
"""

from __future__ import annotations

import json
import re

from tools.site_page import once

Steps = tuple[tuple[str, str], ...]
"""What there is, and what is there instead."""

IMPORTED = 'import {{ {} }} from "./unpack.mjs";\n'
LOADER: Steps = (
    ("s=await ke(t,n),r=await Re(i,n);", "s=await ke(t,n);await breath();let r=await Re(i,n);await breath();"),
    ("let a=Ae(r,s,t);", "let a=await Ae(r,s,t);"),
    ("function Ae(e,t,n){", "async function Ae(e,t,n){"),
    ("(s=i.restoreSnapshot(t)),", "(s=i.restoreSnapshot(t),await breath()),"),
)
INTERPRETER: Steps = (
    # Browsers compile a function in parentheses while they read it, beside the page, and not when it is called.
    ("async function _createPyodideModule(", "export default (async function("),
    ("return moduleRtn}export default _createPyodideModule;", "return moduleRtn});"),
    ("function receiveInstance(", "async function receiveInstance("),
    ("updateGOT(origExports);LDSO.init();", "updateGOT(origExports);await breath();LDSO.init();"),
    ("wasmExports=await (createWasm());run();", "wasmExports=await createWasm();await breath();run();"),
    ("API.finalizeBootstrap=function(", "API.finalizeBootstrap=async function("),
    (",API.runPythonInternal_dict=API._pyodide", ",await breath(),API.runPythonInternal_dict=API._pyodide"),
)
MODULE = r'"(\w+\.py)":("(?:[^"\\]|\\.)*")'
WRITTEN = re.compile(rf'\w+\("\.",\{{pyscript:\{{(?:{MODULE},?)+\}}\}}\),')


def loader(program: bytes) -> bytes:
    """Return pyodide.mjs."""
    return _changed(program, LOADER, "breath, fetch, WebAssembly")


def interpreter(program: bytes) -> bytes:
    """Return pyodide.asm.mjs."""
    return _changed(program, INTERPRETER, "breath")


def pyscript(program: bytes) -> tuple[bytes, dict[str, bytes]]:
    """Return PyScript's core without its package, and the package's modules by their file names."""
    text = program.decode()
    found = WRITTEN.search(text)
    if not found:
        raise SystemExit("site: PyScript's core holds no package any more, see tools/programs.py")
    modules = {name: json.loads(source).encode() for name, source in re.findall(MODULE, found[0])}
    return once(text, found[0], "").encode(), modules


def _changed(program: bytes, steps: Steps, names: str) -> bytes:
    text = program.decode()
    for old, new in steps:
        text = once(text, old, new)
    return (IMPORTED.format(names) + text).encode()
