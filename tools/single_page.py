"""The page that is one file: the repository's own index.html with everything that it fetches put into it."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping

from tools.site_page import once

EXPORTS = re.compile(r"\bexport\s*(?:\{(?P<several>[^}]*)\}|default (?P<default>\w+));?\s*(?://# \S+\s*)?$")
EXPORTED = re.compile(r"^export (?=(?:async )?(?:function|const|class) (\w+))", re.MULTILINE)
IMPORTED = re.compile(r'^import (?:(?P<names>\{[^}]*\}) from )?"(?P<module>[^"]+)";\n', re.MULTILINE)
LINK = re.compile(r'    <link rel="(?:modulepreload|preload)"[^>]*>\n')
STYLE = re.compile(r'    <link rel="stylesheet" href="([^"]+)">\n')
SCRIPT = re.compile(r'    <script (?:type="module" )?src="([^"]+)"></script>\n')
PYTHON = '    <script type="py" src="app/main.py" config="pyscript.toml"></script>\n'
FAILED = "if that does not help, run <code>make run</code> again."
D3 = "vendor/d3/d3.min.js"
UNREADABLE = re.compile(r"</(?:script|style)|<!--|\r|\0", re.IGNORECASE)
ICON = "app/static/favicon.svg"
POLICY = re.compile(r'content="default-src [^"]*"')

Texts = Mapping[str, str]


def function(source: str, parameters: str = "", modules: Texts | None = None) -> str:
    """Return a module as a function expression that returns what the module exports.

    ``modules`` are expressions for what it imports, by the name it has there; one that is imported for what it does,
    and not for its names, is left out.
    """

    def bound(match: re.Match[str]) -> str:
        return f"const {match['names']} = {(modules or {})[match['module']]};\n" if match["names"] else ""

    source = IMPORTED.sub(bound, source)
    names = EXPORTED.findall(source)
    source = EXPORTED.sub("", source)
    if end := EXPORTS.search(source):
        source = source[: end.start()]
        pairs = [pair.split(" as ") for pair in (end["several"] or f"{end['default']} as default").split(",")]
        names += [f"{pair[-1].strip()}: {pair[0].strip()}" for pair in pairs]
    if not names:
        raise SystemExit("single: a module exports nothing")
    return f"({parameters}) => {{\n{source}\nreturn {{ {', '.join(names)} }};\n}}"


def page(text: str, *, files: Mapping[str, bytes], scripts: Texts, start: str, data: Texts) -> str:
    """Return the page.

    ``files`` are the static ones by their path, ``scripts`` what stands in place of a script, by its path ("" for
    nothing), ``start`` the module that starts everything, ``data`` what it finds in the page, by name.
    """
    inlined: dict[str, list[str]] = {"script": [], "style": []}

    def inline(tag: str, content: str, kind: str = "") -> str:
        inlined[tag].append(content)
        return element(tag, content, kind)

    def script(match: re.Match[str]) -> str:
        content = scripts.get(match[1], files[match[1]].decode())
        return inline("script", content) if content else ""

    text = SCRIPT.sub(script, LINK.sub("", text))
    text = STYLE.sub(lambda match: inline("style", files[match[1]].decode()), text)
    ends = [
        inline("script", files[D3].decode()),
        *(element("script", content, f' type="text/plain" id="file:{name}"') for name, content in data.items()),
        inline("script", start, ' type="module"'),
    ]
    text = once(with_icons(text, files), PYTHON, "".join(ends))
    text = once(text, POLICY.findall(text)[0], f'content="{policy(inlined["script"], inlined["style"])}"')
    text = once(text, FAILED, "this browser may be too old for it.")
    return once(text, 'data-server=""', 'data-server="inside"')


def with_icons(text: str, files: Mapping[str, bytes]) -> str:
    """Put the icons into the page, the other ones of the tab as well, where page/elements.py finds them."""
    icons = {name.rpartition("/")[2]: address(files[name]) for name in sorted(files) if name.endswith(".svg")}
    places = icons | {"timeline.js": "inside:timeline.js"}
    found = "".join(f'    <meta name="static:{name}" content="{place}">\n' for name, place in places.items())
    text = text.replace(f'="{ICON}"', f'="{icons["favicon.svg"]}"')
    return once(text, "  </head>\n", f"{found}  </head>\n")


def address(icon: bytes) -> str:
    """Return an icon as an address."""
    return f"data:image/svg+xml;base64,{base64.b64encode(icon).decode()}"


def element(tag: str, content: str, attributes: str = "") -> str:
    """Return an element that holds what was a file, as it is: its hash is in the policy."""
    if UNREADABLE.search(content):
        raise SystemExit("single: something would end its element, or not be read as it was written")
    return f"    <{tag}{attributes}>{content}</{tag}>\n"


def policy(scripts: Iterable[str], styles: Iterable[str]) -> str:
    """Return what the page may do: run what stands in it, and reach nothing at all."""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {' '.join(map(named, scripts))} 'wasm-unsafe-eval'",
            f"style-src {' '.join(map(named, styles))}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    )


def named(content: str) -> str:
    """Name an inline script or style in a policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
