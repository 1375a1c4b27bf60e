"""The few forms of Go's `fmt` that transcripts print: quoted bytes, lists, sets and maps.

Owns nothing of Raft.
"""

from collections.abc import Iterable

ESCAPES = {
    "\a": r"\a",
    "\b": r"\b",
    "\f": r"\f",
    "\n": r"\n",
    "\r": r"\r",
    "\t": r"\t",
    "\v": r"\v",
    '"': r"\"",
    "\\": r"\\",
}


def quoted(data: bytes) -> str:
    """Bytes as Go's %q prints them: readable where they are UTF-8, escaped where they are not."""
    # A byte that is no UTF-8 decodes to a lone surrogate of its own value, and to nothing else.
    return f'"{"".join(map(_escaped, data.decode("utf-8", "surrogateescape")))}"'


def _escaped(char: str) -> str:
    if char in ESCAPES:
        return ESCAPES[char]
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if char.isprintable():
        return char
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def slice_of(values: Iterable[object]) -> str:
    """`[1 2 3]`."""
    return f"[{' '.join(map(str, values))}]"


def boolean(value: bool) -> str:
    """`true` or `false`."""
    return "true" if value else "false"
