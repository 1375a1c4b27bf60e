"""A launcher to be killed by a test: starts children in every state, says so, and waits."""

import os
import signal
import sys
from pathlib import Path

from actors.processes.child import ForkServer


def main() -> None:
    run = Path(sys.argv[1])
    server = ForkServer.start([], [run / "socket", run / "directory"])
    targets = ("park", "park", "park_for_ever", "breed")
    children = [
        server.spawn(f"tests.actors.children:{target}", b"", log_path=run / f"{number}.log")
        for number, target in enumerate(targets)
    ]
    pids = [child.wait_started(10) for child in children]
    children[1].kill(signal.SIGSTOP)
    print(server.pid, *pids, flush=True)
    while True:
        os.read(0, 1)


if __name__ == "__main__":
    main()
