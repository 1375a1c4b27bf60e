"""What the package offers at its top."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import actors

ROOT = Path(__file__).resolve().parents[2]


def imported() -> dict[str, str | None]:
    """The module of each name that type checkers are told of."""
    tree = ast.parse(Path(actors.__file__).read_text())
    (for_checkers,) = (node for node in tree.body if isinstance(node, ast.If))
    return {
        alias.name: node.module
        for node in for_checkers.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


@pytest.mark.parametrize("name", actors.__all__)
def test_every_name_is_where_type_checkers_believe_it_is(name: str) -> None:
    module = imported()[name]
    assert module is not None
    assert getattr(actors, name) is getattr(importlib.import_module(module), name)


def test_no_other_name_is_there() -> None:
    assert set(actors.__all__) == imported().keys()
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = actors.nothing


def test_starting_processes_loads_neither_sockets_nor_codecs() -> None:
    script = (
        "import sys, actors.processes.child; print(*sorted({'zmq', 'msgspec', 'loguru'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout.split() == []
