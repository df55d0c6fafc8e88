"""What is decided when the site is built: the page's addresses, which modules are needed, which API is spoken to."""

from __future__ import annotations

import re
import zipfile
import zipimport
from collections.abc import Callable
from pathlib import Path

import pytest

from tools import compiling, programs, site, site_page
from tools.site_page import Api

ROOT = Path(__file__).resolve().parents[2]
SIZES = {
    "vendor/pyscript/core-abc.js": 10,
    "vendor/pyodide/pyodide.asm.wasm.packed": 300,
    "vendor/pyodide/python_stdlib.zip.packed": 40,
    "vendor/pyodide/python.image.packed": 500,
}


def built(api: Api | None = None) -> str:
    """Return the repository's page, as a build has it."""
    return site_page.page((ROOT / "index.html").read_text(), "build-1", SIZES, api)


def test_every_address_of_the_page_leads_into_the_builds_folder() -> None:
    """Whatever the page names by href, src or config, but for places in itself, begins with the folder."""
    named = re.findall(r'\b(?:href|src|config)="([^#"]+)"', built())
    assert len(named) > 15
    assert [address for address in named if not address.startswith("build-1/")] == []
    assert 'data-files="build-1/"' in built()


def test_the_page_is_otherwise_the_repositorys_own() -> None:
    """Without the folder, the preloads, the start of Python and the server's name it is index.html, line by line."""
    text = re.sub(r'data-files="build-1/" |data-bytes="\d+" |build-1/|\.packed', "", built())
    text = text.replace(site_page.STARTING, site_page.STARTED)
    ours = (ROOT / "index.html").read_text().splitlines()
    theirs = [
        line for line in text.replace('data-server="embedded"', 'data-server=""').splitlines() if "preload" not in line
    ]
    assert [line.replace("pyscript.toml", "pyscript.json") for line in ours if "preload" not in line] == theirs


def test_the_bytes_of_the_packed_files_are_told() -> None:
    """What is counted while it comes is the interpreter and its library; not every visit fetches the image."""
    assert 'id="boot-progress" data-bytes="340"' in built()


def test_a_real_api_is_allowed_and_named_once() -> None:
    """Its origin is the only other one in the policy; the settings lead to it; no mock server, no test controls."""
    api = Api("https://api.example/v2")
    assert "connect-src 'self' https://api.example;" in built(api)
    assert 'data-server=""' in built(api)
    settings = site.config("build-1", api)["freshfetch"]
    assert settings["auth"] == "https://api.example/v2/auth"
    assert settings["notes"] == "https://api.example/v2/notes"
    assert settings["origins"] == ["https://api.example"]
    assert "mock" not in settings


@pytest.mark.parametrize("url", ["api.example", "ftp://api.example/", "https://api.example/?a=b", "https:///v2"])
def test_what_is_no_base_url_is_refused(url: str) -> None:
    """No scheme, another one, a query, no host: told at once, not by a page that does not work."""
    with pytest.raises(ValueError, match=re.escape(url)):
        Api(url)


def test_without_an_api_the_settings_are_the_repositorys() -> None:
    """Only where things lie is different."""
    config = site.config("build-1", None)
    assert config["freshfetch"] == site.settings()["freshfetch"]
    assert "files" not in config
    assert config["interpreter"] == "./build-1/vendor/pyodide/pyodide.mjs"


def test_a_page_that_has_changed_is_not_built_by_halves() -> None:
    """Something that should be replaced is not there: the build ends and says what."""
    with pytest.raises(SystemExit, match="boot-progress"):
        site_page.page((ROOT / "index.html").read_text().replace("boot-progress", "other"), "build-1", SIZES, None)


def test_the_service_worker_is_given_the_files() -> None:
    """Folder and names are written where it says that it has none."""
    text = (ROOT / "app/static/service-worker.js").read_text()
    made = site.with_files(text, "build-1", {"b.js": b"", "a.js": b""})
    assert 'const BUILD = {"folder": "build-1", "files": ["a.js", "b.js"]};' in made
    with pytest.raises(SystemExit):
        site.with_files(made, "build-1", {})


def test_a_build_is_named_after_what_it_holds() -> None:
    """The same contents, the same name; anything else, another one."""
    assert site.digest([b"a", b"b"]) == site.digest([b"a", b"b"])
    assert len({site.digest(parts) for parts in ([b"a", b"b"], [b"ab"], [b"b", b"a"])}) == 3


def test_other_settings_or_another_page_make_another_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a folder's name is made from is all that a visitor gets: else they would never get the rest."""
    monkeypatch.setattr(site, "copied", dict)
    monkeypatch.setattr(site, "compiled", lambda _stage: {})
    built = [site.build(tmp_path), site.build(tmp_path), site.build(tmp_path, Api("https://api.example"))]
    given, made = site.settings(), site_page.page
    monkeypatch.setattr(site, "settings", lambda: {**given, "plugins": []})
    built.append(site.build(tmp_path))
    monkeypatch.setattr(site, "page", lambda *given: made(*given) + "<!-- other -->")
    built.append(site.build(tmp_path))
    assert built[0] == built[1]
    assert len(set(built)) == 4
    assert (tmp_path / built[-1] / "pyscript.json").is_file()


# -- the programs of Pyodide and PyScript --


@pytest.mark.parametrize("change", [programs.loader, programs.interpreter, programs.pyscript])
def test_a_program_that_has_changed_ends_the_build(change: Callable[[bytes], object]) -> None:
    """Of another version, say: a step that is not found could not be stopped after."""
    with pytest.raises(SystemExit, match="site: "):
        change(b"export const nothing = 1;")


def test_pyscripts_package_is_taken_out_of_its_core() -> None:
    """The modules as they are written by it; the core is otherwise the same, and writes nothing."""
    before, after = b"a(),", b',b("import pyscript")'
    package = rb'w(".",{pyscript:{"__init__.py":"from pyscript.web import \"page\"\n","web.py":"page=1"}}),'
    core, modules = programs.pyscript(before + package + after)
    assert core == before + after
    assert modules == {"__init__.py": b'from pyscript.web import "page"\n', "web.py": b"page=1"}


# -- which modules of the standard library are needed --


def library(folder: Path, **modules: str) -> compiling.Sources:
    """Write modules, by name with two underscores for a dot, and return them."""
    for name, source in modules.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return compiling.Sources(folder)


def test_what_is_imported_is_needed_and_what_that_imports(tmp_path: Path) -> None:
    """Followed through plain, relative and from-imports, with the packages above; nothing else is kept."""
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text("")
    found = library(tmp_path, a="import pack.one", pack__one="from . import two\nfrom .three import x", pack__two="",
                    pack__three="x = 1", pack__four="", other="")  # fmt: skip
    assert compiling.needed(found, ["a"]) == {"a", "pack", "pack.one", "pack.two", "pack.three"}


def test_imports_for_others_are_not_followed(tmp_path: Path) -> None:
    """Those for type checkers, of a module run as a script, and, in the library, those inside functions."""
    source = """
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            import a
        else:
            import b
        if __name__ == "__main__":
            import c
        def late():
            import d
        class Late:
            import e
    """
    found = library(tmp_path, m=re.sub(r"^ {8}", "", source, flags=re.MULTILINE), a="", b="", c="", d="", e="")
    assert compiling.needed(found, ["m"]) == {"m", "b", "e"}
    assert found.imports("m", late=True) >= {"b", "d", "e"}


def test_the_same_sources_are_the_same_archive(tmp_path: Path) -> None:
    """Written twice, in another order: byte for byte the same, so that a build keeps its name."""
    compiling.write(tmp_path / "one.zip", {"a": b"1", "b": b"2"}, 0)
    compiling.write(tmp_path / "two.zip", {"b": b"2", "a": b"1"}, 0)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_the_librarys_archive_gets_bytecode_and_loses_nothing(tmp_path: Path) -> None:
    """Python imports the bytecode; what was in the archive before is in it unchanged."""
    before = {"thing.py": b"value = 1\n", "pack/__init__.py": b"", "pack/data.txt": b"?"}
    archive = tmp_path / "python_stdlib.zip"
    compiling.write(archive, before, zipfile.ZIP_DEFLATED)
    compiling.library(tmp_path)
    with zipfile.ZipFile(archive) as file:
        after = {name: file.read(name) for name in file.namelist()}
    assert after.items() >= before.items()
    assert after.keys() - before.keys() == {"thing.pyc", "pack/__init__.pyc"}
    importer = zipimport.zipimporter(str(archive))
    assert importer.get_filename("thing").endswith("thing.pyc")
    assert importer.get_source("thing") == "value = 1\n"
