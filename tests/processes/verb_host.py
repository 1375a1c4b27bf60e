"""Carries out verbs in forks of one process that has loaded all of them: as on a terminal, or as in a pipe.

A verb from a shell spends most of its time on imports; so hundreds of verbs take seconds, not minutes.
Reads a request from each line of standard input, and answers each by one line.
"""

from __future__ import annotations

import fcntl
import gc
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
import traceback

import msgspec
import typer.main
from msgspec import Struct

import launcher

PATIENCE_SECONDS = 90.0  # A run of chaos whose cluster never comes back takes one minute by itself.


class Request(Struct):
    """One verb; on a terminal that is so wide, or, if `columns` is 0, with a pipe in place of each stream."""

    words: list[str]
    environment: dict[str, str]
    directory: str
    columns: int = 0
    until: str = ""  # Then it is interrupted, as it goes on until it is.


class Answer(Struct):
    """What it printed (on a terminal both streams are one), and how it ended."""

    code: int
    out: str
    err: str = ""


def run_verb(request: Request) -> Answer:
    """Fork, and wait for the end."""
    streams = [] if request.columns else [os.pipe(), os.pipe()]
    if request.columns:
        pid, master = pty.fork()
    else:
        pid, master = os.fork(), -1
    if pid == 0:
        become(request, [write for _, write in streams])
    for _, write in streams:
        os.close(write)
    readers = [master] if request.columns else [read for read, _ in streams]
    texts = read_all(readers, pid, request)
    for fd in readers:
        os.close(fd)
    return Answer(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), *texts)


def become(request: Request, writers: list[int]) -> None:
    """The child: be that verb as its process would be, and end."""
    os.environ.clear()
    os.environ.update(request.environment)
    try:
        os.chdir(request.directory)
        if request.columns:
            fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 40, request.columns, 0, 0))
            os.environ["TERM"] = "xterm-256color"
        else:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            for number, fd in enumerate(writers, 1):
                os.dup2(fd, number)
        os.closerange(3, writers[-1] + 1 if writers else 3)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        sys.argv = [launcher.__file__, *request.words]
        launcher.main()
    finally:  # The fork must never go on as the host.
        code = exit_code(sys.exception())
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def exit_code(error: BaseException | None) -> int:
    """What the interpreter would say of this end, and exit with."""
    if isinstance(error, SystemExit):
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
            return 1
        return error.code or 0
    if error is not None:
        traceback.print_exception(error)
    return 0 if error is None else 1


def read_all(readers: list[int], pid: int, request: Request) -> list[str]:
    """Both streams to their ends."""
    texts = dict.fromkeys(readers, b"")
    open_ones = set(readers)
    deadline = time.monotonic() + PATIENCE_SECONDS
    interrupted = not request.until
    while open_ones:
        ready, _, _ = select.select(list(open_ones), [], [], max(deadline - time.monotonic(), 0.0))
        if not ready:
            os.kill(pid, signal.SIGKILL)
            deadline += PATIENCE_SECONDS
        for fd in ready:
            try:
                more = os.read(fd, 65536)
            except OSError:  # So a terminal ends.
                more = b""
            texts[fd] += more
            if not more:
                open_ones.discard(fd)
        if not interrupted and request.until.encode() in b"".join(texts.values()):
            interrupted = True
            if request.columns:
                os.write(readers[0], b"\x03")
            else:
                os.kill(pid, signal.SIGINT)
    return [text.decode(errors="replace") for text in texts.values()]


def main() -> None:
    """Answer until there are no more requests."""
    import raft.cli.main
    import raft.client
    import raft.cluster.rpc.launcher_client
    import raft.storage.dump

    # Building all commands from their functions takes longer than most of them do.
    command = raft.cli.main.app.as_command()
    typer.main.get_command = lambda _app: command
    gc.freeze()
    for line in sys.stdin.buffer:
        answer = run_verb(msgspec.json.decode(line, type=Request))
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
