"""Three hosts of an example, as its users would start it: real programs, each with a node beside it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 60.0


def environment(**more: str) -> dict[str, str]:
    """With the package in reach, as if it were installed."""
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


class Hosts:
    """The programs by number, and one stream of all that they print."""

    def __init__(self, program: Path, directory: Path, arguments: dict[int, list[str]]) -> None:
        reads, writes = os.pipe()
        hosts = " ".join(f"ipc://{directory}/{number}.sock" for number in arguments)
        self.programs = {
            number: subprocess.Popen(
                [sys.executable, str(program), str(number), str(directory), *more],
                cwd=ROOT,
                env=environment(HOSTS=hosts),
                stdin=subprocess.DEVNULL,
                stdout=writes,
            )
            for number, more in arguments.items()
        }
        os.close(writes)
        self._said = os.fdopen(reads)

    def hear(self, pattern: str) -> re.Match[str]:
        """The next line that is like that; pytest's own time limit ends a wait in vain."""
        for line in self._said:
            if (found := re.fullmatch(pattern, line.rstrip("\n"))) is not None:
                return found
        raise AssertionError(f"all have ended, and nobody has said {pattern!r}")

    def signal(self, number: int, what: signal.Signals) -> None:
        """Send a signal to one host's program; its node is another process."""
        self.programs[number].send_signal(what)

    def close(self) -> None:
        """End all programs; each takes its node along."""
        for program in self.programs.values():
            program.kill()
        for program in self.programs.values():
            program.wait(PATIENCE_SECONDS)
        self._said.close()


@contextmanager
def running_program(
    program: Path, directory: Path, arguments: dict[int, list[str]] | None = None
) -> Iterator[Hosts]:
    """Three hosts for the length of a block."""
    hosts = Hosts(program, directory, arguments or {1: [], 2: [], 3: []})
    try:
        yield hosts
    finally:
        hosts.close()


def running(
    example: str, directory: Path, arguments: dict[int, list[str]] | None = None
) -> AbstractContextManager[Hosts]:
    """Three hosts of an example."""
    return running_program(ROOT / "examples" / example, directory, arguments)
