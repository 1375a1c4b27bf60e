"""How a process of our own loads its modules."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOADING = "import gc, sys; from actors.processes.loading import loading\n"


def printed(code: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", LOADING + code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_what_is_large_is_left_out_and_can_be_had_by_those_who_ask_for_it() -> None:
    code = (
        "with loading(): import msgspec\n"
        "print(*{'typing_extensions', 'inspect'} & set(sys.modules))\n"
        "import typing_extensions; print(typing_extensions.__name__)\n"
    )
    assert printed(code) == ["typing_extensions"]


def test_types_are_decoded_as_they_are_with_it() -> None:
    code = (
        "with loading(): import msgspec\n"
        "from typing import Annotated, NotRequired, TypedDict\n"
        "Name = Annotated[str, msgspec.Meta(max_length=2)]\n"
        "Named = TypedDict('Named', {'name': Name, 'age': NotRequired[int]})\n"
        "print(msgspec.json.decode(b'{\"name\": \"ab\"}', type=Named)['name'])\n"
        'try: msgspec.json.decode(b\'{"name": "abc"}\', type=Named)\n'
        "except msgspec.ValidationError: print('refused')\n"
    )
    assert printed(code) == ["ab", "refused"]


def test_the_collector_rests_while_modules_are_loaded_and_not_afterwards() -> None:
    code = (
        "with loading(): print(gc.isenabled())\n"
        "print(gc.isenabled())\n"
        "try:\n"
        "    with loading(): import nowhere\n"
        "except ImportError: print(gc.isenabled())\n"
    )
    assert printed(code) == ["False", "True", "True"]
