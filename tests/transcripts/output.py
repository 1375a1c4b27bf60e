"""What a command prints: text that can be indented, or silenced as a whole.

Owns the log level, of which only `none` matters here, for no interpreter of ours writes a log.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.transcripts.faults import CommandFailed

LEVELS = ("DEBUG", "INFO", "WARN", "ERROR", "FATAL", "NONE")
INDENT = "  "


class Output:
    """The text of one command, in pieces; `take` hands it out and starts anew."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._level = "INFO"

    @property
    def silent(self) -> bool:
        return self._level == "NONE"

    def set_level(self, name: str) -> None:
        """Raises CommandFailed if no level has this name."""
        level = name.upper()
        if level not in LEVELS:
            raise CommandFailed(f"log levels must be either of [{' '.join(LEVELS)}]")
        self._level = level

    def write(self, text: str) -> None:
        if not self.silent:
            self._pieces.append(text)

    def line(self, text: str) -> None:
        self.write(f"{text}\n")

    def take(self) -> str:
        text = "".join(self._pieces)
        self._pieces.clear()
        return text

    @contextmanager
    def indented(self) -> Iterator[None]:
        """What is written meanwhile gets two blanks before each line, and a last newline if it has none."""
        outer, self._pieces = self._pieces, []
        try:
            yield
        finally:
            inner = "".join(self._pieces)
            self._pieces = outer
            for line in inner.removesuffix("\n").split("\n") if inner else ():
                self._pieces.append(f"{INDENT}{line}\n")

    @contextmanager
    def at_level(self, name: str | None) -> Iterator[None]:
        """Another level for a while; None leaves it as it is."""
        before = self._level
        if name is not None:
            self.set_level(name)
        try:
            yield
        finally:
            self._level = before
