"""The files that the page is made of: as they are served, and joined into one that needs no server.

Owns the joining: each module becomes a function that returns what it exports, so that names stay its own.
"""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).with_name("page")
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
FILES = {"" if path.suffix == ".html" else path.name: path for path in sorted(PAGE.iterdir())}
"""What is served, by the end of its address."""
_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([\w.]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const) (\w+))", re.MULTILINE)


def script(entry: str) -> str:
    """A module and all that it imports, as one script without imports. Modules may not import in a circle."""
    parts: dict[str, str] = {}
    _add(entry, parts)
    return "const modules = {};\n" + "".join(parts.values())


def style() -> str:
    """The styles of the panels, for what is inside of an element of the class `moments`; colours for all."""
    return f"{_read('theme.css')}.moments {{\n{_read('page.css')}}}\n"


def panels() -> str:
    """The panels of the page, and the dialog that they open."""
    inside = _read("page.html").partition('<main class="panels">')[2].partition("</body>")[0]
    return '<div class="panels">' + inside.replace("</main>", "</div>")


def _add(name: str, parts: dict[str, str]) -> None:
    text = _read(name)
    for _, imported in _IMPORT.findall(text):
        if imported not in parts:
            _add(imported, parts)
    exported = ", ".join(_EXPORT.findall(text))
    text = _EXPORT.sub("", _IMPORT.sub(r'const {\1} = modules["\2"];\n', text))
    parts[name] = f'modules["{name}"] = (() => {{\n{text}return {{ {exported} }};\n}})();\n'


def _read(name: str) -> str:
    return (PAGE / name).read_text(encoding="utf-8")
