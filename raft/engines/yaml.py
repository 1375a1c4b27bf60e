"""Plain data as YAML: mappings, lists, texts, numbers and truth values, in the order in which they are.

Owns the writing. Reads nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


def document(data: Mapping[str, Any]) -> str:
    """A mapping as one document; a text of several lines stands as a block."""
    return "\n".join(_mapping(data)) + "\n"


def _mapping(data: Mapping[str, Any]) -> Iterator[str]:
    for key, value in data.items():
        name = key if key.replace("_", "").isalnum() and not key.isdigit() else json.dumps(key)
        if isinstance(value, Mapping) and value:
            yield f"{name}:"
            yield from (f"  {line}" for line in _mapping(value))
        elif isinstance(value, list) and value:
            yield f"{name}:"
            yield from _items(value)
        elif isinstance(value, str) and "\n" in value:
            yield f"{name}: |"
            yield from _block(value)
        else:
            yield f"{name}: {json.dumps(value)}"


def _items(values: list[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, Mapping) and value:
            first, *rest = _mapping(value)
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)
        elif isinstance(value, str) and "\n" in value:
            yield "- |"
            yield from _block(value)
        else:
            yield f"- {json.dumps(value)}"


def _block(text: str) -> Iterator[str]:
    assert text.endswith("\n"), "a block ends with a line"
    assert not text.startswith((" ", "\n")), "or its indentation would not be known"
    for line in text[:-1].split("\n"):
        yield f"  {line}" if line else ""
