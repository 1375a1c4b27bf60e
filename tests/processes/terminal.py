"""A launcher at a pseudo-terminal, as a person sees it."""

from __future__ import annotations

import os
import pty
import select
import signal
import time
from pathlib import Path

SECONDS_MAX = 60.0


class Terminal:
    """What was typed and what came back; `expect` reads on until it sees the text."""

    def __init__(self, command: list[str], env: dict[str, str], cwd: Path) -> None:
        self._pid, self._master = pty.fork()
        if self._pid == 0:
            os.chdir(cwd)
            os.execve(command[0], command, env)
        self._code: int | None = None
        self._seen = ""

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def expect(self, text: str) -> None:
        deadline = time.monotonic() + SECONDS_MAX
        while text not in self._seen:
            left = deadline - time.monotonic()
            assert left > 0, f"{text!r} did not appear in {self._seen!r}"
            if select.select([self._master], [], [], left)[0]:
                self._seen += self._read()
        self._seen = self._seen.partition(text)[2]

    def next_word(self) -> str:
        """The word that comes next, once another one follows it."""
        while len(words := self._seen.split()) < 2:
            self._seen += self._read()
        return words[0]

    def rest(self) -> str:
        """All that is printed until the end."""
        while more := self._read():
            self._seen += more
        return self._seen

    def wait(self) -> int:
        """The exit code; whatever is still printed is read, or it could not end."""
        while self._read():
            pass
        self._code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        return self._code

    def foreground(self) -> str:
        """The program that has the terminal now."""
        return Path(f"/proc/{os.tcgetpgrp(self._master)}/comm").read_text().strip()

    def hang_up(self) -> None:
        """The window is closed."""
        os.close(self._master)
        self._master = -1

    def close(self) -> None:
        if self._code is None:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        if self._master >= 0:
            os.close(self._master)

    def _read(self) -> str:
        try:
            return os.read(self._master, 65536).decode(errors="replace")
        except OSError:
            return ""
