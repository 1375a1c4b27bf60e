"""A chat over several hosts, by TCP with keys: what is typed on one is printed on all.

    raft-actors keys make keys --nodes 1 --client ann --client ben --client cid
    python examples/chat.py ann keys tcp://10.0.0.1:7400
    python examples/chat.py ben keys tcp://10.0.0.2:7400 ann tcp://10.0.0.1:7400
    python examples/chat.py cid keys tcp://10.0.0.3:7400 ann tcp://10.0.0.1:7400

Each host needs its own key file and `allowed.toml`. It is enough to join one host: that one tells of all
others. A host that is cut off is unreachable at first, and down when it has been so for a while; it is back
when it joins again.
"""

import sys

import msgspec

from actors import Actor, Address, Host, HostChanged, MonitorHosts, ProcessSystem, handles

DOWN_AFTER_SECONDS = 2.0


class Line(msgspec.Struct, frozen=True):
    """What a participant has said."""

    who: str
    text: str


class Chat(Actor):
    """One host's part: says what is typed here to all hosts, and prints what they say."""

    def __init__(self, who: str) -> None:
        self.who = who
        self.up: set[str] = set()

    def on_start(self) -> None:
        """Hear of hosts, and of what is typed."""
        hosts = Address(self.who, "hosts")
        self.context.ask(hosts, MonitorHosts(self.context.address), timeout_seconds=5.0)
        if sys.stdin.isatty():
            self.context.add_reader(sys.stdin.fileno(), self.on_typed)

    def on_typed(self) -> None:
        """Say a line to all that are up."""
        line = Line(self.who, sys.stdin.readline().rstrip("\n"))
        for host in self.up:
            self.context.tell(Address(host, "chat"), line)

    @handles(HostChanged)
    def on_host(self, changed: HostChanged) -> None:
        """A host has come, cannot be reached, or is given up."""
        print(f"{changed.host} is {changed.state}", flush=True)
        if changed.state == "up":
            self.up.add(changed.host)
            self.context.tell(Address(changed.host, "chat"), Line(self.who, "hello"))
        else:
            self.up.discard(changed.host)

    @handles(Line)
    def on_line(self, line: Line) -> None:
        """Print what is said."""
        print(f"{line.who}: {line.text}", flush=True)


def main(who: str, keys: str, listen: str, *join: str) -> None:
    """Chat until the program is ended."""
    host = Host(
        listen=listen, keys=f"{keys}/{who}.toml", cluster="chat", down_after_seconds=DOWN_AFTER_SECONDS
    )
    with ProcessSystem([Line], host=host) as system:
        system.runtime.spawn(lambda: Chat(who), "chat")
        if join:
            system.join(*join)
        while not system.run_until(lambda: False, timeout_seconds=60.0):
            pass


if __name__ == "__main__":
    main(*sys.argv[1:])
