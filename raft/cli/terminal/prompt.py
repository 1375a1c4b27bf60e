"""The launcher's prompt: the same verbs, typed in the launcher's own terminal.

Owns the thread that reads and runs the lines, and the terminal's settings meanwhile. A verb runs in that
thread as it would in another terminal: as a client of the launcher. Line editing is in line_editor.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import sys
import termios
import textwrap
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raft.cli.app import CLUSTER, FAULTS, LEADERSHIP, OBSERVE, STORE, Session, app, out, run_verb, say
from raft.cli.terminal.printer import write_line

if TYPE_CHECKING:
    from raft.cli.terminal.line_editor import Editor

_PROMPT = "raft> "
_LEAVE = {"quit", "exit"}
_ELSEWHERE = {"up", "chaos", "simulate", "elect", "lock", "observe", "watch", "web", "top", "tour"}
_PYTHON = re.compile(r"(\$|uv|run|python[0-9.]*)")
_HELP_COLUMNS = 78
_CLOSE_SECONDS_MAX = 0.5


def can_prompt() -> bool:
    """Are stdin and stdout a terminal that can move its cursor, with this process in its foreground?"""
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM", "dumb") == "dumb":
        return False
    return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()


def history_file() -> Path:
    """The file of typed lines, kept from one session to the next."""
    state = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state) if state.startswith("/") else Path.home() / ".local/state") / "raft-actors/prompt"


class Prompt:
    """Reads lines in a thread of its own; `leave` is called when there are no more."""

    def __init__(self, cluster: str, leave: Callable[[], None], *, data_is_kept: bool) -> None:
        self._session = Session(cluster=cluster)
        self._leave = leave
        self._question = "end the cluster" + ("" if data_is_kept else " and delete its data") + "? [y/N] "
        self._terminal: list[Any] = termios.tcgetattr(sys.stdin.fileno())
        self._editor: Editor | None = None
        self._thread = threading.Thread(target=self._run, name="prompt", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def print(self, text: str) -> None:
        """Print a line above the one that is being typed; from any thread."""
        if self._editor is None:
            write_line(sys.stdout.fileno(), text)
        else:
            self._editor.print(text)

    def close(self) -> None:
        """Restore the terminal's settings, maybe in the middle of a line, with a short wait."""
        if self._editor is not None:
            self._editor.close()
            self._thread.join(_CLOSE_SECONDS_MAX)
        with contextlib.suppress(termios.error):  # It may be closed.
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, self._terminal)

    def _run(self) -> None:
        # Here, since they take long to import: the cluster is up by now.
        import raft.cli.main  # noqa: F401 - The verbs that are typed here.
        from raft.cli.terminal.completion import candidates
        from raft.cli.terminal.line_editor import Editor, open_terminal

        # A default for verbs from a shell; at the prompt, verbs mean this cluster.
        os.environ.pop("RAFT_CLUSTER", None)
        write = partial(write_line, sys.stdout.fileno())
        editor = Editor(candidates, history_file(), write, terminal_out=open_terminal(sys.stdout))
        with contextlib.suppress(OSError, termios.error):  # The terminal is gone.
            self._take_keys()
            self._editor = editor
            attend(editor, self._carry_out, self._question)
        self._leave()

    def _take_keys(self) -> None:
        """Make Ctrl-C a key: pressed while a verb runs, it discards what was typed meanwhile.

        That text is shown by the next prompt, not amid the verb's output.
        """
        settings = termios.tcgetattr(sys.stdin.fileno())
        settings[3] &= ~(termios.ISIG | termios.ECHO)
        settings[6][termios.VKILL] = b"\x03"
        termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, settings)

    def _carry_out(self, line: str) -> bool:
        """Run one line; False if it was the last."""
        try:
            words = unwrapped(shlex.split(line))
        except ValueError as error:
            say(f"error: {str(error).lower()}", "red")
            return True
        if not words:
            return True
        if words[0] in _LEAVE:
            return False
        if words[0] in _ELSEWHERE or starts_a_cluster(words):
            say(
                f"error: `{words[0]}` starts a cluster or runs until it is stopped; "
                f"use another terminal: raft-actors {shlex.join(words)}",
                "red",
            )
            return True
        if words[0] == "help":
            if not words[1:]:
                out(overview())
                return True
            words = [*words[1:], "--help"]
        run_verb(words, self._session)
        return words[0] != "down"


def attend(editor: Editor, run_line: Callable[[str], bool], question: str) -> None:
    """Run lines until one is the last, or until Ctrl-C or Ctrl-D is confirmed."""
    while True:
        try:
            text = editor.read(_PROMPT)
        except (KeyboardInterrupt, EOFError):
            try:
                if editor.ask(question).strip().lower() in ("y", "yes"):
                    return
            except (KeyboardInterrupt, EOFError):
                return
            continue
        # Several lines may have been pasted at once.
        if not all(run_line(line) for line in text.splitlines()):
            return


def unwrapped(words: list[str]) -> list[str]:
    """The verb and its arguments, without the program before it in a line copied from elsewhere."""
    for position, word in enumerate(words):
        if Path(word).name in ("launcher.py", "raft-actors"):
            return words[position + 1 :]
        if not _PYTHON.fullmatch(Path(word).name):
            break
    return words


def starts_a_cluster(words: list[str]) -> bool:
    """Is this `up` without the word, and not an option that a verb follows or that asks for words only?"""
    first = words[0]
    return first.startswith("-") and first.partition("=")[0] not in {"--cluster", "--help", "-h", "--version"}


def overview() -> str:
    """All verbs on one screen."""
    panels: dict[str, list[str]] = {panel: [] for panel in (OBSERVE, FAULTS, LEADERSHIP, STORE, CLUSTER)}
    for command in app.registered_commands:
        name = command.name or str(getattr(command.callback, "__name__", ""))
        if name not in _ELSEWHERE and not command.hidden:
            panels.setdefault(str(command.rich_help_panel), []).append(name)
    for group in app.registered_groups:
        panels.setdefault(str(group.rich_help_panel), []).append(str(group.name))
    lines = [
        textwrap.fill(
            " ".join(names),
            _HELP_COLUMNS,
            initial_indent=f"{panel:<16}",
            subsequent_indent=" " * 16,
            break_on_hyphens=False,
        )
        for panel, names in panels.items()
        if names
    ]
    return "\n".join(
        [
            *lines,
            "nodes: 3, 1,2,4, leader, followers, all, random:2",
            "`help VERB` explains one; Tab completes; `quit` ends the cluster",
        ]
    )
