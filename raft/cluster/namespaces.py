"""Hosts as network namespaces of this machine, each with an address of its own on one bridge.

Owns the namespaces, their veth pairs, the bridge, and its packet filter rules. This process has an address
on the bridge, too, and reaches all hosts. Needs root, iproute2 and nftables. Knows nothing of Raft.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from raft.cluster.failures import VerbFailed

NAMED: Final = Path("/run/netns")
_CONFIGURED: Final = Path("/etc/netns")  # Where `ip netns exec` finds a namespace's own resolv.conf.
HOSTS_MAX: Final = 200
# Reserved for benchmarks of networks (RFC 2544), so no real host has one of these.
_SUBNETS: Final = tuple(f"198.{18 + half}.{third}" for half in range(2) for third in range(256))
_OWN_HOST: Final = 254
_PREFIX: Final = "raft"
_COMMAND_SECONDS_MAX: Final = 20.0


class NoNamespaces(VerbFailed):
    """Network namespaces are unavailable here; the text says what is missing."""


def why_unavailable(*, packet_filter: bool = True) -> str:
    """What is missing for hosts in namespaces, without or with a packet filter; "" if nothing is."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    tools = ("ip", "nft") if packet_filter else ("ip",)
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        return f"network namespaces need {' and '.join(missing)} (packages iproute2 and nftables)"
    probe = f"{_PREFIX}-{os.getpid()}-probe"
    try:
        _run(["ip", "netns", "add", probe])
    except NoNamespaces as failure:
        return str(failure)
    try:
        _run(["ip", "-netns", probe, "link", "add", "probe", "type", "bridge"])
        if packet_filter:
            _run(["ip", "netns", "exec", probe, "nft", "add table bridge probe"])
    except NoNamespaces as failure:
        return str(failure)
    finally:
        _run(["ip", "netns", "delete", probe])
    return ""


class NamespaceHosts:
    """Hosts by number, from 1 on. Closing it, or leaving its block, removes everything.

    Raises NoNamespaces where they are unavailable. Removes those left by a killed process. `cut` needs a
    packet filter.
    """

    def __init__(self, *, packet_filter: bool = True) -> None:
        reason = why_unavailable(packet_filter=packet_filter)
        if reason:
            raise NoNamespaces(reason)
        _remove_abandoned()
        self._bridge = f"{_PREFIX}{os.getpid()}"
        self._subnet = _free_subnet()
        self._hosts: dict[int, str] = {}  # By number: the present address.
        self._batch(
            [
                f"link add {self._bridge} type bridge",
                f"address add {self._subnet}.{_OWN_HOST}/24 dev {self._bridge}",
                f"address add {self._ipv6(_OWN_HOST)}/64 dev {self._bridge} nodad",
                f"link set {self._bridge} up",
            ]
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- hosts ------------------------------------------------------------------------------------

    def add(self, number: int) -> str:
        """Add a host; returns its address."""
        assert 1 <= number <= HOSTS_MAX, f"hosts have numbers from 1 to {HOSTS_MAX}, not {number}"
        name, cable, address = self.name(number), self._cable(number), f"{self._subnet}.{number}"
        self._batch(
            [
                f"netns add {name}",
                f"link add {cable} type veth peer name eth0 netns {name}",
                f"link set {cable} master {self._bridge} up",
            ]
        )
        self._batch(
            [
                f"address add {address}/24 dev eth0",
                f"address add {self._ipv6(number)}/64 dev eth0 nodad",
                "link set eth0 up",
                "link set lo up",
            ],
            host=number,
        )
        self._hosts[number] = address
        return address

    def name(self, number: int) -> str:
        """The name of a host's namespace, for `ip netns exec`."""
        return f"{_PREFIX}-{os.getpid()}-n{number}"

    def address(self, number: int) -> str:
        """The host's address on the bridge."""
        return self._hosts[number]

    def ipv6_address(self, number: int) -> str:
        """The host's IPv6 address on the bridge."""
        assert number in self._hosts, f"there is no host {number}"
        return self._ipv6(number)

    def on_host(self, number: int, command: Sequence[str]) -> list[str]:
        """The command line that runs a command on a host, as the same process."""
        return ["ip", "netns", "exec", self.name(number), *command]

    @property
    def own_address(self) -> str:
        """The address of this process on the bridge."""
        return f"{self._subnet}.{_OWN_HOST}"

    def ask_names_at(self, number: int, address: str, options: str) -> None:
        """Set the name server of processes started by `on_host` from now on.

        `options` as in resolv.conf(5).
        """
        directory = _CONFIGURED / self.name(number)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "resolv.conf").write_text(f"nameserver {address}\noptions {options}\n")

    # -- faults ------------------------------------------------------------------------------------

    def cut(self, ways: Mapping[int, Collection[int]]) -> None:
        """Silently drop packets from each of these hosts to those, and no others."""
        drops = "".join(
            f"ip saddr {self._hosts[source]} ip daddr {self._hosts[target]} drop;\n"
            for source, targets in ways.items()
            for target in targets
            if source in self._hosts and target in self._hosts
        )
        table = f"table bridge {self._bridge}"
        # The first line ensures that there is a table to delete.
        script = f"{table}\ndelete {table}\n"
        if drops:
            script += f"{table} {{ chain cuts {{ type filter hook forward priority 0;\n{drops}}}\n}}\n"
        _run(["nft", "-f", "-"], script)  # Atomically.

    def pull_cable(self, number: int) -> None:
        """Take the link down; neither end of a connection is notified."""
        self._batch([f"link set {self._cable(number)} down"])

    def plug_cable(self, number: int) -> None:
        """Bring the link up."""
        self._batch([f"link set {self._cable(number)} up"])

    def change_address(self, number: int, last_part: int) -> str:
        """Give the host another address. Connections by the old one hang."""
        before, address = self._hosts[number], f"{self._subnet}.{last_part}"
        self._batch(
            [f"address delete {before}/24 dev eth0", f"address add {address}/24 dev eth0"], host=number
        )
        self._hosts[number] = address
        return address

    def close(self) -> None:
        """Remove everything. Idempotent. Processes that still run on a host stay there, unreachable."""
        with suppress(NoNamespaces):
            self.cut({})
        _remove(self._bridge, [self.name(number) for number in self._hosts])
        self._hosts = {}

    # -- commands ----------------------------------------------------------------------------------

    def _cable(self, number: int) -> str:
        return f"{self._bridge}n{number}"

    def _ipv6(self, number: int) -> str:
        half, third = self._subnet.split(".")[1:]
        return f"fd72:6166:74:{half}{int(third):02x}::{number}"

    def _batch(self, lines: Sequence[str], host: int | None = None) -> None:
        where = [] if host is None else ["-netns", self.name(host)]
        _run(["ip", *where, "-batch", "-"], "".join(f"{line}\n" for line in lines))


def _run(command: Sequence[str], text: str = "") -> None:
    try:
        subprocess.run(
            command, input=text, text=True, capture_output=True, check=True, timeout=_COMMAND_SECONDS_MAX
        )
    except subprocess.CalledProcessError as failure:
        said = failure.stderr.strip().splitlines() or [f"it ended with {failure.returncode}"]
        raise NoNamespaces(f"{' '.join(command)} failed: {said[0]}") from None
    except (OSError, subprocess.TimeoutExpired) as failure:
        raise NoNamespaces(f"{' '.join(command)} failed: {failure}") from failure


def _free_subnet() -> str:
    used = subprocess.run(["ip", "-o", "-4", "address"], capture_output=True, text=True, check=False).stdout
    free = [subnet for subnet in _SUBNETS if f" {subnet}." not in used]
    if not free:
        raise NoNamespaces("all networks of 198.18.0.0/15 are in use")
    return free[os.getpid() % len(free)]


def _remove(bridge: str, names: Sequence[str]) -> None:
    # A namespace takes its links along, but a process may keep it alive for a while.
    for link in _links_of(bridge):
        with suppress(NoNamespaces):
            _run(["ip", "link", "delete", link])
    for name in names:
        shutil.rmtree(_CONFIGURED / name, ignore_errors=True)
        with suppress(NoNamespaces):
            _run(["ip", "netns", "delete", name])
    with suppress(NoNamespaces):
        _run(["ip", "link", "delete", bridge])


def _links_of(bridge: str) -> list[str]:
    try:
        return sorted(path.name for path in Path(f"/sys/class/net/{bridge}/brif").iterdir())
    except OSError:
        return []


def _remove_abandoned() -> None:
    """Remove what dead processes have left."""
    try:
        names = [path.name for path in NAMED.iterdir()]
    except OSError:
        names = []
    by_owner: dict[str, list[str]] = {}
    for name in names:
        prefix, _, rest = name.partition("-")
        if prefix == _PREFIX:
            by_owner.setdefault(rest.partition("-")[0], []).append(name)
    for link in Path("/sys/class/net").iterdir():
        owner = link.name.removeprefix(_PREFIX)
        if link.name.startswith(_PREFIX) and owner.isdigit():
            by_owner.setdefault(owner, [])
    for owner, left in by_owner.items():
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            _remove(f"{_PREFIX}{owner}", left)
