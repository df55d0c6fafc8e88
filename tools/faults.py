"""Write the list of fault tests into docs/faults.md: ``python -m tools.faults``.

A fault test is a function ``test_NN_...`` below ``tests/faults``, where NN is the scenario's number; what its
docstring says is what the list says of it. The modules are read, not imported: no browser is needed.
"""

from __future__ import annotations

import ast
import gc
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "docs" / "faults.md"
BEGIN = "<!-- From here to the end: written by python -m tools.faults, from the tests themselves. -->"


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class FaultTest:
    """One test of a scenario."""

    number: int
    in_browser: bool
    path: str
    """From the docs folder."""
    line: int
    name: str
    says: str


def fault_tests(folder: Path = ROOT / "tests" / "faults") -> list[FaultTest]:
    """Return all fault tests, by number, those that need no browser first."""
    return sorted(test for path in sorted(folder.rglob("test_*.py")) for test in _tests_in(path))


def _tests_in(path: Path) -> Iterator[FaultTest]:
    for node in _parsed(path).body:
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or not node.name.startswith("test_"):
            continue
        number = node.name.split("_")[1]
        if number.isdigit():
            yield FaultTest(
                number=int(number),
                in_browser="browser" in path.parts,
                path=f"../{path.relative_to(ROOT).as_posix()}",
                line=node.lineno,
                name=node.name,
                says=(ast.get_docstring(node) or "").partition("\n")[0],
            )


def _parsed(path: Path) -> ast.Module:
    gc.disable()  # on CPython 3.11 a collection in the middle of the parser makes it fail (gh-106905)
    try:
        return ast.parse(path.read_text())
    finally:
        gc.enable()


def the_list() -> str:
    """Return the list of tests as it belongs into the book."""
    parts = [BEGIN, "", "## The tests"]
    for number, tests in groupby(fault_tests(), key=lambda test: test.number):
        parts += ["", f"### {number}", ""]
        parts += [_item(test) for test in tests]
    return "\n".join(parts) + "\n"


def _item(test: FaultTest) -> str:
    where = " (in Chromium)" if test.in_browser else ""
    return f"- [`{test.name}`]({test.path}){where}: {test.says}"


def main() -> None:
    """Rewrite the list."""
    written = BOOK.read_text().partition(BEGIN)[0]
    BOOK.write_text(written + the_list())


if __name__ == "__main__":
    main()
