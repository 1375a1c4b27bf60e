"""The setup of a process, before the rest of the program runs.

Owns the standard descriptors, inherited signal settings, the limit of open files and the encoding of output.
Imports nothing slow, since it runs before everything else.
"""

from __future__ import annotations

import codecs
import io
import os
import resource
import signal
import sys

from actors.processes.descriptors import raise_descriptor_limit

_ESCAPED, _AS_BYTES = "raft-escaped", "raft-as-bytes"
DESCRIPTORS_MIN = 32  # For a verb; a cluster needs more, and checks that itself.


def make_sane() -> None:
    """Call it first, in the main thread.

    Ctrl-C ends the process silently until a verb handles it. An inherited ignored SIGCHLD would hide how
    children end. A closed standard descriptor would be reused for the next file that is opened; in its place
    stands one that discards what is written. Reading from a closed standard input remains an error.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for fd in (0, 1, 2):
        _open_if_closed(fd)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 - for as long as the process lives
    codecs.register_error(_ESCAPED, _escaped)
    codecs.register_error(_AS_BYTES, _as_bytes)
    sys.stdout = _printable(sys.stdout, 1)
    sys.stderr = _printable(sys.stderr, 2)
    # Raised only if necessary: a program that `lock` runs inherits it, and may rely on a low one.
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= limit < DESCRIPTORS_MIN:  # Negative is no limit.
        limit = raise_descriptor_limit()
    if 0 <= limit < DESCRIPTORS_MIN:
        sys.exit(
            f"error: a process may open {limit} files, and {DESCRIPTORS_MIN} are needed: "
            "raise the limit (ulimit -n)"
        )


def _open_if_closed(fd: int) -> None:
    try:
        os.fstat(fd)
    except OSError:
        opened = os.open(os.devnull, os.O_WRONLY)
        if opened != fd:
            os.dup2(opened, fd)
            os.close(opened)
        os.set_inheritable(fd, True)


def _printable(stream: object, fd: int) -> io.TextIOWrapper:
    """A stream that prints any text, even characters that its encoding lacks, such as bytes in file names.

    Such bytes are data: they go through a pipe or to a file as they are. A person sees them escaped.
    """
    if not isinstance(stream, io.TextIOWrapper):
        stream = open(fd, "w", closefd=False)  # noqa: SIM115 - for as long as the process lives
    stream.reconfigure(errors=_ESCAPED if fd == 2 or stream.isatty() else _AS_BYTES)
    return stream


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """An error handler for encoding: a byte that was no text as in \\xff, other characters as in Python."""
    assert isinstance(error, UnicodeEncodeError), "streams for output only encode"
    lacking = error.object[error.start : error.end]
    return "".join(map(_escape, lacking)), error.end


def _as_bytes(error: UnicodeError) -> tuple[bytes, int]:
    """The same, but a byte that was no text is that byte again."""
    assert isinstance(error, UnicodeEncodeError), "streams for output only encode"
    lacking = error.object[error.start : error.end]
    return b"".join(
        bytes([ord(character) & 0xFF]) if _is_byte(character) else _escape(character).encode()
        for character in lacking
    ), error.end


def _escape(character: str) -> str:
    if _is_byte(character):
        return f"\\x{ord(character) & 0xFF:02x}"
    return character.encode("ascii", "backslashreplace").decode()


def _is_byte(character: str) -> bool:
    """Does it stand for a byte that could not be decoded, see PEP 383?"""
    return "\udc80" <= character <= "\udcff"
