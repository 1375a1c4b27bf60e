"""Verbs without the second that a new interpreter takes for each: one host forks them all.

Owns the host of this process, which is started when the first verb is asked for.
"""

from __future__ import annotations

import atexit
import functools
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from tests.processes.verb_host import Answer, Request

ROOT = Path(__file__).resolve().parents[2]


class VerbHost:
    """A process that has loaded all verbs, and forks one for each request."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.processes.verb_host"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        atexit.register(self.close)

    def run(
        self,
        words: Sequence[str],
        environment: Mapping[str, str] | None = None,
        directory: Path = ROOT,
        columns: int = 0,
        until: str = "",
    ) -> Answer:
        """One verb to its end; see `Request`."""
        assert self._process.stdin is not None and self._process.stdout is not None
        request = Request(list(words), dict(environment or os.environ), str(directory), columns, until)
        self._process.stdin.write(msgspec.json.encode(request) + b"\n")
        self._process.stdin.flush()
        return msgspec.json.decode(self._process.stdout.readline(), type=Answer)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@functools.cache
def verb_host() -> VerbHost:
    """The one host of this process."""
    return VerbHost()
