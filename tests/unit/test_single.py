"""How a page becomes one file: modules become functions, files parts of the page, and the policy names each of them."""

from __future__ import annotations

import base64
import hashlib
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tools import single, single_page

ROOT = Path(__file__).resolve().parents[2]
FILES = {
    **{path.relative_to(ROOT).as_posix(): path.read_bytes() for path in (ROOT / "app" / "static").iterdir()},
    "vendor/d3/d3.min.js": b"globalThis.d3 = {};",
    "vendor/pico/pico.min.css": b"p { margin: 0 }",
}


class Elements(HTMLParser):
    """Reads scripts, styles and all attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.inline: list[tuple[str, dict[str, str | None], str]] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take a start tag."""
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag in ("script", "style"):
            self.inline.append((tag, dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        """Take text; of a script or style it comes whole, or in parts."""
        if self.cdata_elem:
            tag, attributes, text = self.inline.pop()
            self.inline.append((tag, attributes, text + data))


def built() -> Elements:
    """Return the repository's page as one file, with little in place of what is big."""
    text = (ROOT / "index.html").read_text()
    scripts = {
        "app/static/open-me-properly.js": "",
        "app/static/server.js": "'server';",
        "app/static/start.js": "",
    }
    return Elements(single_page.page(text, files=FILES, scripts=scripts, start="'start';", data={"server.zip": "UEs="}))


def policy(page: Elements) -> dict[str, list[str]]:
    """Return the page's policy by directive."""
    (text,) = (value for tag, name, value in page.attributes if name == "content" and value.startswith("default-src"))
    return {words[0]: words[1:] for words in (part.split() for part in text.split(";"))}


def test_nothing_leads_out_of_the_file() -> None:
    """No address in any attribute but places in the page and icons, which are in it."""
    named = [value for _, name, value in built().attributes if name in ("src", "href", "config", "action", "srcset")]
    assert len(named) > 2
    assert [address for address in named if not address.startswith(("#", "data:image/svg+xml;base64,"))] == []


def test_the_policy_names_exactly_what_stands_in_the_page() -> None:
    """Each script that runs and each style by its hash; nothing may be fetched, framed, or started from elsewhere."""
    page = built()
    runs = [each for each in page.inline if each[1].get("type") in (None, "module")]
    found: dict[str, list[str]] = {"script": [], "style": []}
    for tag, _, content in runs:
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        found[tag].append(f"'sha256-{digest}'")
    rules = policy(page)
    assert rules["script-src"] == [*found["script"], "'wasm-unsafe-eval'"]
    assert rules["style-src"] == found["style"]
    assert (rules["default-src"], rules["img-src"], rules["trusted-types"]) == (["'none'"], ["data:"], ["'none'"])
    assert len(found["script"]) == 4
    assert not {"connect-src", "worker-src"} & rules.keys()


def test_the_page_says_which_server_it_has_and_what_a_reload_cannot_mend() -> None:
    """It is told, and probes nothing; nobody is sent to a command that a single file does not need."""
    text = single_page.page((ROOT / "index.html").read_text(), files=FILES, scripts={}, start="", data={})
    assert 'data-server="inside"' in text
    assert "run <code>make run</code> again" not in text


def test_what_a_parser_would_change_is_not_built() -> None:
    """An end tag in a script, a comment's beginning, a carriage return: the build ends."""
    for content in ("'</script>'", "'</SCRIPT '", "'<!--'", "a\r\nb", "\0"):
        with pytest.raises(SystemExit):
            single_page.element("script", content)


@pytest.mark.parametrize(
    "source,made",
    [
        ("export function f() {}\nexport const c = 1;", "() => {\nfunction f() {}\nconst c = 1;\nreturn { f, c };\n}"),
        ("var a=1;export{a as b,c};\n//# sourceMappingURL=x", "() => {\nvar a=1;\nreturn { b: a, c: c };\n}"),
        ("function F(){}export default F;\n", "() => {\nfunction F(){}\nreturn { default: F };\n}"),
        ('import "./d3.js";\nimport { p } from "./p.js";\nexport function f() {}',
         "() => {\nconst { p } = P;\nfunction f() {}\nreturn { f };\n}"),
    ],
)  # fmt: skip
def test_a_module_becomes_a_function(source: str, made: str) -> None:
    """What it exports is returned; what it imports is put in its place, or has run before."""
    assert single_page.function(source, modules={"./p.js": "P"}) == made


def test_a_module_that_exports_nothing_is_refused() -> None:
    """Its form has changed: better no page than one that does not start."""
    with pytest.raises(SystemExit):
        single_page.function("module.exports = {}")


def test_every_address_of_the_api_is_the_server_inside() -> None:
    """The settings are pyscript.toml's, at a host that cannot exist, and name the server's module."""
    config = single.config()
    addresses = {name: value for name, value in config.items() if name != "inside"}
    assert set(addresses) == {"auth", "heartbeat", "notes", "data", "echo", "mock"}
    assert all(value.startswith(single.ADDRESS) for value in addresses.values())
    assert f'ADDRESS = "{single.ADDRESS}"' in (ROOT / "app" / "page" / "inside.py").read_text()
    assert (ROOT / (config["inside"].replace(".", "/") + ".py")).exists()
