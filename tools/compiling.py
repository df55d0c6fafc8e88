"""Compiling: Python sources to .pyc, run by the Python that will import them (see compile.mjs).

Bytecode belongs to one version of Python, and the one in the browser is not the one on this machine. ``library`` is for
vendor/; a ``site`` has of the standard library only what something imports: that is most of what a page has to fetch.
"""

from __future__ import annotations

import ast
import importlib.util
import marshal
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import CodeType

EARLIEST = (1980, 1, 1, 0, 0, 0)
"""What a zip file can date back to: the same sources are always the same archive."""
UNCHECKED = (1).to_bytes(4, "little")
"""A .pyc that names its source by hash, and is believed without a look at it."""

# Looked for by name while Python runs, so that no import statement tells.
LOOKED_FOR = (
    "_strptime",
    "encodings.ascii",
    "encodings.cp437",
    "encodings.idna",
    "encodings.latin_1",
    "encodings.punycode",
    "encodings.unicode_escape",
    "encodings.utf_8",
    "encodings.utf_8_sig",
    "encodings.utf_16",
    "encodings.utf_32",
    "html.entities",
    "http.cookiejar",
    "importlib.metadata",
    "importlib.resources",
    "mimetypes",
    "zipimport",
)
# Stand-ins for what is built into this Python, and parts for other systems.
NEVER = {
    "_py_abc",
    "_pydatetime",
    "asyncio.proactor_events",
    "asyncio.windows_events",
    "asyncio.windows_utils",
    "encodings._win_cp_codecs",
    "ntpath",
    "pyodide._nodesock_transport",
    "pyodide.console",
    "rlcompleter",
}


class Sources:
    """Python files by the name they are imported under."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = {_name(path.relative_to(folder)): path for path in sorted(folder.rglob("*.py"))}
        self._trees: dict[str, ast.Module] = {}

    def tree(self, module: str) -> ast.Module:
        """Return a module's syntax tree."""
        if module not in self._trees:
            self._trees[module] = ast.parse(self.files[module].read_bytes(), str(self.path(module)))
        return self._trees[module]

    def path(self, module: str) -> Path:
        """Return where a module lies below the folder."""
        return self.files[module].relative_to(self.folder)

    def imports(self, module: str, *, late: bool) -> set[str]:
        """Return what a module may import, names that may be modules included; ``late``: inside functions, too."""
        package = module if self.files[module].name == "__init__.py" else module.rpartition(".")[0]
        found: set[str] = set()
        for node in _imports(self.tree(module), late=late):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
                continue
            base = (
                importlib.util.resolve_name("." * node.level + (node.module or ""), package)
                if node.level
                else node.module
            )
            found |= {base or "", *(f"{base}.{alias.name}" for alias in node.names)}
        return found

    def code(self, module: str) -> bytes:
        """Return the .pyc, without assertions and docstrings."""
        code = compile(self.tree(module), str(self.path(module)), "exec", dont_inherit=True, optimize=2)
        return bytecode(code, self.files[module].read_bytes())


def bytecode(code: CodeType, source: bytes) -> bytes:
    """Return a .pyc."""
    return importlib.util.MAGIC_NUMBER + UNCHECKED + importlib.util.source_hash(source) + marshal.dumps(code)


def needed(library: Sources, roots: Iterable[str]) -> set[str]:
    """Return the modules of ``library`` that importing ``roots`` imports."""
    found: set[str] = set()
    left = list(roots)
    while left:
        for module in _with_parents(left.pop()):
            if module in library.files and module not in found | NEVER:
                found.add(module)
                left += library.imports(module, late=False)
    return found


def roots(library: Sources, others: Iterable[Sources]) -> set[str]:
    """Return where to start: what is imported anywhere in our own sources, and all of Pyodide's own Python."""
    ours = set[str]().union(*(sources.imports(module, late=True) for sources in others for module in sources.files))
    own = {module for module in library.files if _first(module) in ("pyodide", "_pyodide")}
    return ours | own | set(LOOKED_FOR)


def write(archive: Path, members: Mapping[str, bytes], method: int) -> None:
    """Write a zip file."""
    with zipfile.ZipFile(archive, "w", method) as file:
        for name, content in sorted(members.items()):
            file.writestr(zipfile.ZipInfo(name, EARLIEST), content, method, 9)


def members(sources: Sources, modules: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Yield the modules as .pyc; the source stays beside it where the module reads it."""
    for module in modules:
        path = sources.path(module)
        if b"install_lazy_importer()" in (source := sources.files[module].read_bytes()):
            yield path.as_posix(), source
            yield cached(path), sources.code(module)
        else:
            yield path.with_suffix(".pyc").as_posix(), sources.code(module)


def cached(path: Path) -> str:
    """Return where Python looks for the .pyc of a source that lies beside it."""
    return Path(importlib.util.cache_from_source(str(path), optimization="")).as_posix()


def library(folder: Path) -> None:
    """Put the bytecode of each module into the standard library's archive, beside its source.

    Pyodide comes with sources only, and compiling what a page imports is most of what its start takes.
    """
    archive = folder / "python_stdlib.zip"
    # Where a page has the library, as this Python has it: tracebacks name the file.
    place = Path(zipfile.__file__).parent
    with zipfile.ZipFile(archive) as file:
        found = {name: file.read(name) for name in file.namelist()}
    sources = {name: content for name, content in found.items() if name.endswith(".py")}
    made = {
        f"{name}c": bytecode(compile(source, str(place / name), "exec", dont_inherit=True), source)
        for name, source in sources.items()
    }
    write(archive, found | made, zipfile.ZIP_DEFLATED)


def site(stage: Path) -> None:
    """Make archives of the folders below ``stage``: of the library what the others need, of the others all.

    The page is in the library's archive, so that Python finds it in there. The server's is for whoever runs it.
    """
    library, app, server, pyscript = (Sources(stage / name) for name in ("stdlib", "app", "server", "pyscript"))
    for_page = needed(library, roots(library, [app, pyscript]))
    for_all = needed(library, roots(library, [app, pyscript, server]))
    # A package is found in one place: what the server adds to one of the page's has to lie there.
    of_page = {_first(module) for module in for_page}
    for_server = {module for module in for_all if _first(module) not in of_page}
    parts = ((library, for_all - for_server), (app, app.files), (pyscript, pyscript.files))
    found = {name: content for sources, modules in parts for name, content in members(sources, modules)}
    # This one is compressed as a whole, which takes less, and to import from it takes less time.
    write(stage / "python_stdlib.zip", found, zipfile.ZIP_STORED)
    served = dict(members(server, server.files)) | dict(members(library, for_server))
    write(stage / "server.zip", served, zipfile.ZIP_DEFLATED)


def _first(module: str) -> str:
    return module.partition(".")[0]


def _name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _with_parents(module: str) -> Iterator[str]:
    parts = module.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts) + 1))


def _is_for_others(condition: ast.expr) -> bool:
    """Tell whether a block is for type checkers, or for a module that is run as a script."""
    return any(isinstance(node, ast.Name) and node.id in ("TYPE_CHECKING", "__name__") for node in ast.walk(condition))


def _imports(node: ast.AST, *, late: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, ast.If) and _is_for_others(child.test):
            for other in child.orelse:
                yield from _imports(ast.Module([other], []), late=late)
        elif late or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _imports(child, late=late)
