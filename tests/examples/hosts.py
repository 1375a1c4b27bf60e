"""Three hosts of an example, as its users would start it: real programs, each with a node beside it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 60.0


def environment(**more: str) -> dict[str, str]:
    """With the package in reach, as if it were installed."""
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


OnHost = Callable[[int, Sequence[str]], list[str]]


def on_this_host(_number: int, command: Sequence[str]) -> list[str]:
    """The command line as it is; see `NamespaceHosts.on_host`."""
    return [*command]


class Hosts:
    """The programs by number, and all lines that they print, as they come."""

    def __init__(
        self,
        program: Path,
        directory: Path,
        arguments: dict[int, list[str]],
        on_host: OnHost = on_this_host,
    ) -> None:
        hosts = " ".join(f"ipc://{directory}/{number}.sock" for number in arguments)
        self.programs = {
            number: subprocess.Popen(
                on_host(number, [sys.executable, str(program), str(number), str(directory), *more]),
                cwd=ROOT,
                env=environment(HOSTS=hosts),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                text=True,
            )
            for number, more in arguments.items()
        }
        self._said: SimpleQueue[str | None] = SimpleQueue()
        self._silent = 0
        # A pipe and a listener for each: in one pipe for all, their lines might be mixed up.
        self._listeners = [
            threading.Thread(target=self._listen, args=(program.stdout,))
            for program in self.programs.values()
        ]
        for listener in self._listeners:
            listener.start()

    def _listen(self, output: IO[str]) -> None:
        with output:
            for line in output:
                self._said.put(line)
        self._said.put(None)

    def hear(self, pattern: str) -> re.Match[str]:
        """The next line that matches, from any process."""
        while self._silent < len(self.programs):
            try:
                line = self._said.get(timeout=PATIENCE_SECONDS)
            except Empty:
                raise AssertionError(f"no process prints {pattern!r}") from None
            if line is None:
                self._silent += 1
            elif (found := re.fullmatch(pattern, line.rstrip("\n"))) is not None:
                return found
        raise AssertionError(f"all have ended, and none has printed {pattern!r}")

    def signal(self, number: int, what: signal.Signals) -> None:
        """Send a signal to one host's program; its node is another process."""
        self.programs[number].send_signal(what)

    def close(self) -> None:
        """End all programs; each takes its node along."""
        for program in self.programs.values():
            program.kill()
        for program in self.programs.values():
            program.wait(PATIENCE_SECONDS)
        for listener in self._listeners:
            listener.join(PATIENCE_SECONDS)


@contextmanager
def running_program(
    program: Path,
    directory: Path,
    arguments: dict[int, list[str]] | None = None,
    on_host: OnHost = on_this_host,
) -> Iterator[Hosts]:
    """Three hosts for the length of a block."""
    hosts = Hosts(program, directory, arguments or {1: [], 2: [], 3: []}, on_host)
    try:
        yield hosts
    finally:
        hosts.close()


def running(
    example: str, directory: Path, arguments: dict[int, list[str]] | None = None
) -> AbstractContextManager[Hosts]:
    """Three hosts of an example."""
    return running_program(ROOT / "examples" / example, directory, arguments)
