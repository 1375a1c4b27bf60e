"""The launcher's prompt: the same verbs, typed where the cluster runs.

Owns the line that is being typed, and that events appear above it. A verb runs in the prompt's
thread exactly as it would in another terminal: as a guest that asks the launcher.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import termios
import threading
from collections.abc import Callable
from typing import Any

from raft.cluster.cli.app import Session, app, carry_out, say
from raft.cluster.cli.printer import write_all

_PROMPT = "raft> "
_ERASE_LINE = "\r\x1b[K"
_LEAVE = {"quit", "exit"}


def can_prompt() -> bool:
    """Is there a person at a terminal that can move its cursor, and are we in its foreground?"""
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM", "dumb") == "dumb":
        return False
    return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()


class Prompt:
    """Reads lines in a thread of its own; `leave` is called when there are no more."""

    def __init__(self, cluster: str, leave: Callable[[], None]) -> None:
        self._session = Session(cluster=cluster)
        self._leave = leave
        self._terminal: list[Any] = termios.tcgetattr(sys.stdin.fileno())
        self._reading = False
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begin to read."""
        threading.Thread(target=self._run, name="prompt", daemon=True).start()

    def print(self, text: str) -> None:
        """A line above the one that is being typed; from any thread."""
        import readline

        with self._lock:
            typed = _PROMPT + readline.get_line_buffer() if self._reading else ""
            write_all(sys.stdout.fileno(), f"{_ERASE_LINE}{text}\n{typed}")

    def close(self) -> None:
        """Give the terminal back as it was, in the middle of a line as may be; without waiting for it."""
        with contextlib.suppress(termios.error):  # It may be closed.
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, self._terminal)

    def _run(self) -> None:
        import readline

        names = sorted(_verb_names() | _LEAVE | {"help"})
        readline.set_completer(
            lambda text, n: ([name + " " for name in names if name.startswith(text)] + [None])[n]
        )
        readline.parse_and_bind("tab: complete")
        with contextlib.suppress(EOFError):
            while self._carry_out(self._read()):
                pass
        self._leave()

    def _read(self) -> str:
        self._reading = True
        try:
            return input(_PROMPT)
        finally:
            self._reading = False

    def _carry_out(self, line: str) -> bool:
        """Run one line; False if it was the last."""
        try:
            words = shlex.split(line)
        except ValueError as error:
            say(f"error: {error}", "red")
            return True
        if not words:
            return True
        if words[0] in _LEAVE:
            return False
        if words[0] == "help":
            words = [*words[1:2], "--help"]
        carry_out(words, self._session)
        return words[0] != "down"


def _verb_names() -> set[str]:
    named = ((command.name, command.callback) for command in app.registered_commands)
    verbs = {name or str(getattr(callback, "__name__", "")) for name, callback in named}
    return verbs | {str(group.name) for group in app.registered_groups}
