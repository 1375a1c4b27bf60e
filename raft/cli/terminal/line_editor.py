"""Line editing at the launcher's prompt: keys, history, completion.

Owns all use of prompt_toolkit. It takes a quarter of a second to import, so the prompt loads this module in
its own thread when the cluster is up; nodes, and verbs from a shell, never do. Knows no verb.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TextIO

from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.key_binding.key_processor import KeyPressEvent
from prompt_toolkit.output import Output
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.shortcuts import CompleteStyle

HISTORY_BYTES_MAX = 256 * 1024

Complete = Callable[[str], Iterable[tuple[str, str]]]
"""From the text before the cursor to pairs: a whole word that may end it, and its description."""


class Editor:
    """Reads lines in one thread, while others print above the line that is being typed."""

    def __init__(
        self,
        complete: Complete,
        history: Path | None,
        write: Callable[[str], None],
        *,
        terminal_in: Input | None = None,
        terminal_out: Output | None = None,
    ) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._above: deque[tuple[str, threading.Event]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None  # While a line is being typed.
        self._closing = False
        self._lines: PromptSession[str] = PromptSession(
            history=_open_history(history),
            completer=_Words(complete),
            complete_while_typing=False,
            complete_style=CompleteStyle.READLINE_LIKE,
            enable_history_search=False,
            key_bindings=_keys(),
            input=terminal_in,
            output=terminal_out,
        )
        # No history and no completion for the answer to a question.
        self._answers: PromptSession[str] = PromptSession(
            key_bindings=_keys(), input=terminal_in, output=terminal_out
        )

    def read(self, message: str) -> str:
        """The next line. Raises KeyboardInterrupt for Ctrl-C on an empty line, EOFError at the end."""
        return self._read(self._lines, message)

    def ask(self, question: str) -> str:
        """The answer to a question; ends as `read` does."""
        return self._read(self._answers, question)

    def print(self, text: str) -> None:
        """Write a text above the line that is being typed; from any thread, waiting until it is written."""
        written = threading.Event()
        with self._lock:
            self._above.append((text, written))
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._begin_to_write)
        if self._loop is None:
            self._write_all_above()
        written.wait()

    def close(self) -> None:
        """End the reading for good; from any thread."""
        self._closing = True
        with contextlib.suppress(RuntimeError):  # The loop has ended by itself.
            if (loop := self._loop) is not None:
                loop.call_soon_threadsafe(self._end)

    def _read(self, session: PromptSession[str], message: str) -> str:
        self._session: PromptSession[str] = session
        try:
            return session.prompt(
                FormattedText([("bold", message)]),
                pre_run=self._begin,
                handle_sigint=False,  # Ctrl-C is read as a key; signals are handled by the launcher.
                set_exception_handler=False,
            )
        finally:
            with self._lock:
                self._loop = None
            self._write_all_above()

    def _begin(self) -> None:
        with self._lock:
            self._loop = asyncio.get_running_loop()
            if self._above or self._closing:
                self._loop.call_soon(self._begin_to_write)
        if self._closing:
            self._loop.call_soon(self._end)

    def _end(self) -> None:
        app = self._session.app
        if app.is_running and not app.is_done:
            app.exit(exception=EOFError())

    def _begin_to_write(self) -> None:
        if self._above and self._session.app.is_running:
            run_in_terminal(self._write_all_above)

    def _write_all_above(self) -> None:
        with self._lock:
            while self._above:
                text, written = self._above[0]
                with contextlib.suppress(OSError):  # The terminal is gone.
                    self._write(text)
                self._above.popleft()
                written.set()


class _Words(Completer):
    def __init__(self, complete: Complete) -> None:
        self._complete = complete

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """See `Completer`."""
        del complete_event
        before = document.text_before_cursor
        typed = before.split(" ")[-1]
        for word, meaning in self._complete(before):
            yield Completion(word, start_position=-len(typed), display_meta=meaning)


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("c-c")
    def _clear_or_ask(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt())

    @keys.add("c-z")
    @keys.add("c-\\")
    def _nothing(event: KeyPressEvent) -> None:
        # A suspended launcher could not supervise.
        del event

    return keys


class _PrivateHistory(FileHistory):
    """A history that continues without its file when that cannot be written."""

    def store_string(self, string: str) -> None:
        with contextlib.suppress(OSError):
            super().store_string(string)


def _open_history(path: Path | None) -> History:
    if path is None:
        return InMemoryHistory()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size > HISTORY_BYTES_MAX:
            path.replace(path.with_suffix(".old"))
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            os.fchmod(fd, 0o600)
        finally:
            os.close(fd)
    except OSError:
        return InMemoryHistory()
    return _PrivateHistory(path)


def open_terminal(stream: TextIO) -> Output:
    """Writes to a terminal without asking for its cursor's position: some never answer."""
    output = Vt100_Output.from_pty(stream, term=os.environ.get("TERM"))
    output.enable_cpr = False
    return output
