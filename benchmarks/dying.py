"""How long after `kill -9` the other end of a connection hears of it, by the memory of the process that dies.

Owns that one experiment, with nothing of this project in it: a process that touches so much memory, and
keeps some threads and one TCP connection. The kernel frees the memory of a process before it closes its
descriptors, so this is the least that any failover takes that begins with a closed connection.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

THREADS = 4  # As a node has besides its first.
START_SECONDS_MAX = 60.0
VICTIM = """
import socket, sys, threading, time
port, size, threads = map(int, sys.argv[1:])
memory = bytearray(size)
for at in range(0, size, 4096):
    memory[at] = 1
for _ in range(threads):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
connection = socket.create_connection(("127.0.0.1", port))
connection.send(b"!")
time.sleep(60)
"""


def seconds_until_heard(megabytes: int) -> float:
    """Kill one such process, and wait for the end of its connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        arguments = [str(server.getsockname()[1]), str(megabytes << 20), str(THREADS)]
        victim = subprocess.Popen([sys.executable, "-c", VICTIM, *arguments])
        server.settimeout(START_SECONDS_MAX)
        connection, _ = server.accept()
        with connection:
            connection.recv(1)
            began = time.perf_counter()
            victim.kill()
            with suppress(ConnectionResetError):
                connection.recv(1)
            seconds = time.perf_counter() - began
        victim.wait()
    return seconds


def main(arguments: Sequence[str] = ()) -> int:
    """Print the median for each size."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks dying", description=__doc__)
    parser.add_argument("megabytes", nargs="*", type=int, default=[0, 10, 20, 40, 80])
    parser.add_argument("--times", type=int, default=15)
    given = parser.parse_args(arguments)
    if given.times < 1 or min(given.megabytes) < 0:
        parser.error("a process touches 0 MB or more, and is killed once or more often")
    print("| touched, MB | until the other end hears of it, ms |\n| ---: | ---: |")
    for megabytes in given.megabytes:
        median = statistics.median(seconds_until_heard(megabytes) for _ in range(given.times))
        print(f"| {megabytes} | {1000 * median:.2f} |", flush=True)
    return 0
