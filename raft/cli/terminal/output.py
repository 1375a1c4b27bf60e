"""Writing data to standard output, and what becomes of a verb when that fails.

Owns the errors of a standard output that is full or closed, and what a terminal is spared. Words about the
data, on standard error, are `app.say`'s.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator

import typer

from raft.cluster.failures import VerbFailed

READER_GONE = 128 + signal.SIGPIPE


@contextlib.contextmanager
def written() -> Iterator[None]:
    """Write within it: a reader that is gone ends the verb in silence, as SIGPIPE would.

    Raises VerbFailed for any other error.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        discard_output()
        raise typer.Exit(READER_GONE) from None
    except OSError as error:
        discard_output()
        raise VerbFailed(f"standard output cannot be written: {error.strerror}") from error


def out(text: str) -> None:
    """Data, for programs as for people; see `written`."""
    with written():
        sys.stdout.write(text + "\n")


def out_bytes(content: bytes) -> None:
    """Bytes as they are; on a terminal, without those that would move its cursor or change its colours."""
    if sys.stdout.isatty():
        out("\n".join(map(_harmless, content.decode(errors="backslashreplace").split("\n"))))
        return
    with written():
        sys.stdout.flush()
        sys.stdout.buffer.write(content + b"\n")


def _harmless(line: str) -> str:
    from raft.cluster.records.event_words import printable

    return "\t".join(map(printable, line.split("\t")))


def discard_output() -> None:
    """For an output that is closed: at its end the interpreter flushes it, and must not fail once more."""
    null_fd = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null_fd, sys.stdout.fileno())
    os.close(null_fd)
