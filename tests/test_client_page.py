"""The page on the client: its programs run against a node, and its numbers are the code's."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import pytest

import raft.client
from raft.client import ClientError
from raft.embedding import Node
from raft.machines import commands, history
from tests.test_documents import _PROGRAM, ROOT

PAGE = (ROOT / "docs" / "client.md").read_text()
_SHOWN = re.compile(r"^( *)(.+?)  # -> (.+)$", re.MULTILINE)


@pytest.mark.processes
def test_the_programs_of_the_page_on_the_client_do_what_they_say() -> None:
    shown: list[str] = []
    with tempfile.TemporaryDirectory(prefix="rc", ignore_cleanup_errors=True) as name:
        endpoint = f"ipc://{name}/n1"
        with Node(1, listen=endpoint, data_dir=Path(name) / "one"):
            page: dict[str, Any] = {"__name__": __name__, "shown": lambda value: shown.append(repr(value))}
            try:
                for program in _PROGRAM.findall(PAGE.replace("tcp://127.0.0.1:7001", endpoint)):
                    shown.clear()
                    expected = [found[3] for found in _SHOWN.finditer(program)]
                    exec(_SHOWN.sub(r"\1shown((\2))", program), page)
                    assert shown == expected, program
            finally:
                page["client"].close()


def test_the_page_s_limits_are_the_code_s() -> None:
    for says, number in {
        "4 KiB, 1 MiB, 2 MiB": (
            commands.KEY_BYTES_MAX, commands.VALUE_BYTES_MAX, commands.COMMAND_BYTES_MAX,
        ),
        "255 bytes": (commands.ELECTION_BYTES_MAX,),
        "128 comparisons, 128 parts": (commands.TRANSACTION_PARTS_MAX,) * 2,
        "10,000 items, about 4 MiB": (commands.LIMIT_MAX, commands.ANSWER_BYTES_MAX),
        "keys of one lease | 100,000": (commands.LEASE_KEYS_MAX,),
        "keys deleted by one command, keys of one lease | 100,000": (commands.RANGE_KEYS_MAX,),
        "16,384 events, 16 MiB": (history.EVENTS_MAX, history.EVENTS_BYTES_MAX),
        "256, 8 MiB": (commands.SESSION_WINDOW, commands.SESSION_BYTES_MAX),
        "100 ms to 30 days": (commands.TTL_MS_MIN, commands.TTL_MS_MAX),
    }.items():  # fmt: skip
        assert says in PAGE
        found = re.findall(r"(\d+(?:,\d{3})*) ?(\w*)", says.split("|")[-1])
        assert tuple(_number(digits, unit) for digits, unit in found) == number


def _number(digits: str, unit: str) -> int:
    units = {"KiB": 1024, "MiB": 1024**2, "days": 24 * 3600 * 1000}
    return int(digits.replace(",", "")) * units.get(unit, 1)


def test_the_page_says_of_every_error_whether_a_retry_is_safe() -> None:
    errors = [getattr(raft.client, name) for name in raft.client.__all__]
    table = PAGE.partition("## Errors")[2].partition("## Limits")[0]
    for error in errors:
        if isinstance(error, type) and issubclass(error, ClientError) and error is not ClientError:
            (row,) = [
                line for line in table.splitlines() if line.startswith("|") and f"`{error.__name__}`" in line
            ]
            says_yes = row.rsplit("|", 2)[1].strip().startswith(("yes", "after"))
            assert says_yes is error.retry_is_safe, row
