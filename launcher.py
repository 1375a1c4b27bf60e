"""Start a Raft cluster of real processes, steer it, break it, watch it.

    python launcher.py --nodes 5        # start five nodes and stay with them
    python launcher.py kill leader      # from another terminal

Owns the first moments only: a cluster's fork server is on its way before anything slow is imported,
so that nodes come up while this process still reads its command line. All verbs are in raft.cli.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # The part of `signal` that the interpreter has loaded already.

if __name__ == "__main__" and _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    # Before all else: until a verb takes care of it, Ctrl-C ends the process without a traceback.
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

import os
import sys
import time

# What `pip install -e .` brings.
NEEDED = {"zmq", "msgspec", "loguru", "psutil", "typer", "rich", "prompt_toolkit", "jinja2"}
NODE_MODULES = ("raft.node.process.main", "raft.node.process.fault_injection")


def main() -> None:
    """Carry out the command line of this process, and exit with its code."""
    if sys.version_info < (3, 11):  # noqa: UP036 - a checkout can be run by any interpreter.
        sys.exit(f"error: raft-actors needs Python 3.11 or newer, and this is {sys.version.split()[0]}")
    try:
        _main()
    except ModuleNotFoundError as error:
        if error.name not in NEEDED:
            raise
        sys.exit(
            f"error: {error.name} is not installed for this Python ({sys.executable}): in the project's "
            f"directory, run {sys.executable} -m pip install -e ."
        )


def _main() -> None:
    started_seconds = time.monotonic()
    from raft.cli.terminal.process_setup import make_sane

    make_sane()
    arguments = sys.argv[1:]
    if not starts_cluster(arguments):
        from raft.cli.entry import run

        sys.exit(run(arguments, None, started_seconds, -1))
    from actors.processes.child import ForkServer
    from raft.cli.terminal.detach import split_off

    ready_fd = split_off() if "--detach" in arguments else -1
    from raft.cli.config_paths import files

    if files() or any(argument.startswith("--machine") for argument in arguments):
        sys.path.append("")  # The user's own module is where the user is.
    fork_server = ForkServer.start(NODE_MODULES)
    from raft.cli.entry import run

    code = run(arguments, fork_server, started_seconds, ready_fd)
    fork_server.close()
    os._exit(code)  # Without waiting for a thread that still prints to a terminal which takes nothing.


def starts_cluster(arguments: list[str]) -> bool:
    """Is this `up`, written out or implied by its options? A guess that costs a process if it is wrong."""
    if not arguments or {"--help", "-h"} & set(arguments):
        return False
    first = arguments[0]
    others = first.startswith("--cluster") or first == "--version"
    return first == "up" or (first.startswith("-") and not others)


if __name__ == "__main__":
    main()
