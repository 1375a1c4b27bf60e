"""The setup of a process, before the rest of the program runs.

Owns the standard descriptors, inherited signal settings, the limit of open files and the encoding of output.
Imports nothing slow, since it runs before everything else.
"""

from __future__ import annotations

import io
import os
import resource
import signal
import sys

from actors.processes.descriptors import raise_descriptor_limit

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
    """A stream that prints any text, even characters that its encoding lacks, such as bytes in file names."""
    if not isinstance(stream, io.TextIOWrapper):
        stream = open(fd, "w", closefd=False)  # noqa: SIM115 - for as long as the process lives
    stream.reconfigure(errors="backslashreplace")
    return stream
