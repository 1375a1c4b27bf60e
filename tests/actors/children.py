"""What the children in the process tests do."""

import os
import signal
import sys
import time


def park(argument: bytes, life_fd: int) -> None:
    os.read(life_fd, 1)


def park_for_ever(argument: bytes, life_fd: int) -> None:
    os.close(life_fd)
    while True:
        signal.pause()


def deaf(argument: bytes, life_fd: int) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("deaf", flush=True)
    park_for_ever(argument, life_fd)


def exit_with(argument: bytes, life_fd: int) -> int:
    return int(argument)


def fail(argument: bytes, life_fd: int) -> None:
    raise ValueError("no such luck")


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def describe(argument: bytes, life_fd: int) -> None:
    fds = [fd for fd in range(256) if is_open(fd)]
    print("argument", argument.decode())
    print("env", os.environ["COLOUR"])
    print("session", os.getsid(0) == os.getpid())
    print("stdin", os.read(0, 1))
    print("fds", fds == [0, 1, 2, life_fd])
    print("preloaded", "colorsys" in sys.modules)
    print("defaults", {signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)})
    print("blocked", signal.pthread_sigmask(signal.SIG_BLOCK, ()))
    print("on stderr", file=sys.stderr)


def breed(argument: bytes, life_fd: int) -> None:
    """Start something that would outlive all others, and wait."""
    pid = os.fork()
    if pid == 0:
        while True:
            time.sleep(1000)
    print(pid, flush=True)
    os.read(life_fd, 1)
    while True:
        time.sleep(1000)


def echo(argument: bytes, life_fd: int) -> None:
    """A peer that sends back what it hears; told as "name incarnation endpoint peer=endpoint…"."""
    from actors.transport.base import Received
    from actors.transport.zeromq import ZeroMqTransport

    name, incarnation, endpoint, *peers = argument.decode().split()
    transport = ZeroMqTransport(name, int(incarnation), cluster="test", endpoint=endpoint)
    for peer in peers:
        transport.connect(*peer.split("="))
    alive = [True]
    transport.add_reader(life_fd, alive.clear)
    while alive:
        transport.poll(None)
        for event in transport.receive():
            if isinstance(event, Received):
                transport.send(event.process, event.payload)
    transport.close()


def flood(argument: bytes, life_fd: int) -> int:
    """Listen and read late, while one after another sends small frames and heartbeats, and is gone."""
    from actors.transport.zeromq import Tuning, ZeroMqTransport

    tuning = Tuning(frames_queued_max=8, heartbeat_milliseconds=1, heartbeat_timeout_milliseconds=200)
    endpoint = argument.decode()
    node = ZeroMqTransport("n1", 1, cluster="test", endpoint=endpoint, tuning=tuning)

    def pass_time(seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            os.sched_yield()

    for number in range(40):
        guest = ZeroMqTransport(f"guest{number}", 1, cluster="test", tuning=tuning)
        guest.connect("n1", endpoint)
        while guest.send("n1", b"x") is not None:
            guest.poll(0.001)
            guest.receive()
        for _ in range(10):
            for _ in range(20):
                guest.send("n1", bytes(10))
            pass_time(0.0005)
        guest.close()
        pass_time(0.01)
        node.poll(0.0)
        node.receive()
    node.close()
    return 0
