"""Start a Raft cluster of real processes, steer it, break it, watch it.

    python launcher.py --nodes 5        # start five nodes and stay with them
    python launcher.py kill leader      # from another terminal

Owns the first moments only: a cluster's fork server is on its way before anything slow is imported,
so that nodes come up while this process still reads its command line. All verbs are in raft.cluster.cli.
"""

from __future__ import annotations

import sys
import time

from raft.cluster.cli.detaching import split_off

NODE_MODULES = ("raft.node.process",)


def main() -> None:
    """Carry out the command line of this process, and exit with its code."""
    started_seconds = time.monotonic()
    arguments = sys.argv[1:]
    ready_fd, fork_server = -1, None
    if starts_cluster(arguments):
        from actors.process import ForkServer

        if "--detach" in arguments:
            ready_fd = split_off()
        if any(argument.startswith("--machine") for argument in arguments):
            sys.path.append("")  # The user's own module is where the user is.
        fork_server = ForkServer.start(NODE_MODULES)
    from raft.cluster.cli.entry import run

    code = run(arguments, fork_server, started_seconds, ready_fd)
    if fork_server is not None:
        fork_server.close()
    sys.exit(code)


def starts_cluster(arguments: list[str]) -> bool:
    """Is this `up`, written out or implied by its options? A guess that costs a process if it is wrong."""
    if not arguments or {"--help", "-h"} & set(arguments):
        return False
    return arguments[0] == "up" or (arguments[0].startswith("-") and not arguments[0].endswith("-completion"))


if __name__ == "__main__":
    main()
