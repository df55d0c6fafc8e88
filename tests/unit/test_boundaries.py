"""The house rules that a parser can check: who imports whom, what is public, and what the browser is given."""

from __future__ import annotations

import ast
import sys
import tomllib
from pathlib import Path

import pytest

import freshfetch
from tests.world import parsed

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "app" / "freshfetch"
BROWSER = LIBRARY / "browser"
SERVER = ROOT / "mock_server"
FROM_BROWSER = {"js", "pyodide", "pyodide_js", "pyscript"}
SEEN_BY_ADAPTERS = {"_errors", "_json", "_models", "_ports", "_record"}
SEEN_BY_CONNECT = SEEN_BY_ADAPTERS | {"_session", "_queue", "_retry", "_heartbeat", "auth_servers", "memory"}

Import = tuple[int, str]


def imports(path: Path) -> set[Import]:
    """Return what a module imports: how many dots, and the first name after them."""
    found: set[Import] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {(0, alias.name.partition(".")[0]) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = [node.module.partition(".")[0]] if node.module else [alias.name for alias in node.names]
            found |= {(node.level, name) for name in names}
    return found


def modules(folder: Path) -> list[Path]:
    """Return all Python files below a folder."""
    return sorted(folder.rglob("*.py"))


def named(path: Path) -> str:
    """Return how a test case calls a file."""
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", modules(LIBRARY), ids=named)
def test_the_library_imports_the_standard_library_and_itself(path: Path) -> None:
    """No runtime dependency, no page, no mock server; what a browser provides only below freshfetch/browser."""
    absolute = {name for dots, name in imports(path) if dots == 0}
    allowed = sys.stdlib_module_names | (FROM_BROWSER if path.is_relative_to(BROWSER) else set())
    if path.is_relative_to(LIBRARY / "adapters"):
        allowed |= {path.stem.strip("_")}  # an adapter imports the client it is named after
    assert absolute <= allowed


@pytest.mark.parametrize("path", modules(LIBRARY), ids=named)
def test_the_library_stays_in_its_house(path: Path) -> None:
    """No relative import leads out of freshfetch."""
    depth = len(path.relative_to(LIBRARY).parts)
    assert all(dots <= depth for dots, _ in imports(path))


@pytest.mark.parametrize("path", modules(SERVER), ids=named)
def test_the_mock_server_does_not_know_the_library(path: Path) -> None:
    """A server that shared the client's code would share its mistakes."""
    assert not {name for _, name in imports(path)} & {"freshfetch", "app", "page"}


def test_the_memory_adapters_see_ports_and_values_only() -> None:
    """``memory`` imports ports, models, errors and the record, nothing that decides."""
    assert {name for dots, name in imports(LIBRARY / "memory.py") if dots} <= SEEN_BY_ADAPTERS


@pytest.mark.parametrize("path", modules(BROWSER), ids=named)
def test_the_browser_adapters_see_ports_and_values_only(path: Path) -> None:
    """Below ``browser`` the same; ``connect`` may see what it puts together, the lock its limits and its stand-in."""
    allowed = SEEN_BY_CONNECT if path.name == "__init__.py" else SEEN_BY_ADAPTERS | {"memory", "_deadlines"}
    assert {name for dots, name in imports(path) if dots == 2} <= allowed


def test_deciding_modules_do_not_see_the_session() -> None:
    """Session -> (refresh, queue, heartbeat) -> models, events, ports, errors; never back."""
    lower = [
        "_queue",
        "_refresh",
        "_heartbeat",
        "_retry",
        "_record",
        "_records",
        "_models",
        "_errors",
        "_events",
        "_ports",
    ]
    for name in lower:
        seen = {other for dots, other in imports(LIBRARY / f"{name}.py") if dots}
        assert not seen & {"_session", "browser", "memory"}, name
    for name in ("_models", "_errors", "_events", "_ports", "_record", "_retry"):
        seen = {other for dots, other in imports(LIBRARY / f"{name}.py") if dots}
        assert not seen & {"_queue", "_refresh", "_heartbeat", "_records", "_status"}, name


def test_the_public_names_are_complete_and_sorted() -> None:
    """``__all__`` lists every name that ``__init__`` imports, in order, and nothing else."""
    tree = parsed(LIBRARY / "__init__.py")
    imported = [alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert freshfetch.__all__ == sorted(freshfetch.__all__)
    assert sorted(imported) == freshfetch.__all__
    assert all(hasattr(freshfetch, name) for name in freshfetch.__all__)


def test_every_public_class_of_a_private_module_is_exported() -> None:
    """Errors and events are of no use to a caller who cannot name them."""
    for module in ("_errors.py", "_events.py"):
        tree = parsed(LIBRARY / module)
        classes = {node.name for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")}
        assert classes <= set(freshfetch.__all__)


def test_the_error_tree_is_drawn_with_every_error() -> None:
    """The docstring of _errors names each class that it defines."""
    tree = parsed(LIBRARY / "_errors.py")
    drawing = ast.get_docstring(tree) or ""
    assert all(node.name in drawing for node in tree.body if isinstance(node, ast.ClassDef))


def test_the_browser_is_given_exactly_the_files_there_are() -> None:
    """pyscript.toml lists each Python file of the library and the page once, and no other."""
    listed = tomllib.loads((ROOT / "pyscript.toml").read_text())["files"]
    there = {named(path) for folder in (LIBRARY, ROOT / "app" / "page") for path in modules(folder)}
    ours = {name for name in listed if name.startswith(("app/freshfetch/", "app/page/"))}
    assert ours == {name for name in there if not name.startswith("app/freshfetch/adapters/")}
    for name in ours:
        assert listed[name] == Path(name).relative_to("app").parent.as_posix() + "/"
