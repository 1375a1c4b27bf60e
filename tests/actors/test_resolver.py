"""Peers whose hosts are given by name, with resolvers that fall silent, fail, and change their minds."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from actors.transport.base import PeerDown
from actors.transport.curve import Keys, generate, load
from actors.transport.endpoints import EndpointError, split_tcp
from actors.transport.resolver import Resolver, at_address, look_up, name_in
from actors.transport.zeromq import Tuning, ZeroMqTransport
from tests.actors.net import WAIT_SECONDS, Net, a_net

QUICK = Tuning(refused_retry_seconds=0.05)
HERE = "tcp://127.0.0.1:0"


class Names:
    """A resolver: what it says of each name; nothing at all of those in `silent` until `speak`."""

    def __init__(self, **addresses: str) -> None:
        self.addresses = {f"{name}.example": text.split() for name, text in addresses.items()}
        self.silent: set[str] = set()
        self.asked: Counter[str] = Counter()
        self._speaks = threading.Event()

    def __call__(self, host: str) -> Sequence[str]:
        self.asked[host] += 1
        if host in self.silent:
            assert self._speaks.wait(WAIT_SECONDS), "the test has forgotten its resolver"
        if host not in self.addresses:
            raise OSError(-2, "Name or service not known")
        return self.addresses[host]

    def speak(self) -> None:
        self.silent.clear()
        self._speaks.set()


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    with a_net(tmp_path) as made:
        yield made


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, Keys]:
    return {path.stem: load(path) for path in generate(tmp_path / "keys", ["n1", "n2", "n3"])}


def member(net: Net, keys: dict[str, Keys], name: str, endpoint: str = HERE, **more: Any) -> ZeroMqTransport:
    return net.node(
        name, more.pop("incarnation", 1), endpoint=endpoint, keys=keys[name], tuning=QUICK, **more
    )


def named(transport: ZeroMqTransport, name: str) -> str:
    """The endpoint of a transport, with a name in place of its address."""
    return f"tcp://{name}.example:{split_tcp(str(transport.endpoint))[1]}"


def test_a_lookup_that_never_ends_holds_up_no_other_peer_and_is_not_begun_twice(
    net: Net, keys: dict[str, Keys]
) -> None:
    names = Names(two="127.0.0.1", three="127.0.0.1")
    names.silent.add("three.example")
    two, three = member(net, keys, "n2"), member(net, keys, "n3")
    one = member(net, keys, "n1", look_up=names)
    one.connect("n3", named(three, "three"))
    one.connect("n2", named(two, "two"))
    two.connect("n1", str(one.endpoint))
    assert net.run(lambda: net.is_up("n1", "n2") and net.is_up("n2", "n1"))
    assert one.send("n2", b"meanwhile") is None
    assert net.run(lambda: net.payloads("n2") == [b"meanwhile"])
    assert net.run(lambda: one.counters["name not resolved"] == 1)
    assert names.asked["three.example"] == 1
    assert "the name three.example cannot be resolved: the resolver does not" in str(one.send("n3", b"x"))
    names.speak()
    assert net.run(lambda: net.is_up("n1", "n3"))


@pytest.mark.parametrize("state", ["silent", "failing"])
def test_the_last_answer_is_used_while_there_is_no_other(net: Net, keys: dict[str, Keys], state: str) -> None:
    names = Names(two="127.0.0.1")
    two = member(net, keys, "n2")
    one = member(net, keys, "n1", look_up=names)
    one.connect("n2", named(two, "two"))
    assert net.run(lambda: net.is_up("n1", "n2"))
    if state == "silent":
        names.silent.add("two.example")
    else:
        del names.addresses["two.example"]
    endpoint = str(two.endpoint)
    net.close(two)
    assert net.run(lambda: not net.is_up("n1", "n2") and one.counters["name not resolved"] > 0)
    member(net, keys, "n2", endpoint, incarnation=2)
    assert net.run(lambda: net.is_up("n1", "n2"))
    names.speak()


def test_a_peer_is_found_where_its_name_leads_now(net: Net, keys: dict[str, Keys]) -> None:
    names = Names(two="127.0.0.1")
    two = member(net, keys, "n2")
    one = member(net, keys, "n1", look_up=names)
    one.connect("n2", named(two, "two"))
    assert net.run(lambda: net.is_up("n1", "n2"))
    asked = names.asked["two.example"]
    assert asked == 1, "a peer that is there is not looked up"
    port = split_tcp(str(two.endpoint))[1]
    net.close(two)
    assert net.run(lambda: names.asked["two.example"] > asked)
    names.addresses["two.example"] = ["127.0.0.2"]
    member(net, keys, "n2", f"tcp://127.0.0.2:{port}", incarnation=2)
    assert net.run(lambda: net.is_up("n1", "n2"))


def test_all_addresses_of_a_name_are_tried_in_turn(net: Net, keys: dict[str, Keys]) -> None:
    two = member(net, keys, "n2")
    one = member(net, keys, "n1", look_up=Names(two="127.0.0.3 ::1 127.0.0.1"))
    one.connect("n2", named(two, "two"))
    assert net.run(lambda: net.is_up("n1", "n2"))


def test_answers_in_another_order_each_time_move_no_peer(net: Net, keys: dict[str, Keys]) -> None:
    names = Names(two="127.0.0.1 127.0.0.2")
    one = member(net, keys, "n1", look_up=names)
    two = member(net, keys, "n2")
    one.connect("n2", named(two, "two"))
    assert net.run(lambda: net.is_up("n1", "n2"))
    names.addresses["two.example"].reverse()
    one.connect("n3", named(two, "two"))  # Asks for the same name again.
    assert net.run(lambda: names.asked["two.example"] >= 2)
    assert not any(isinstance(event, PeerDown) for event in net.changes("n1"))


@pytest.mark.parametrize("endpoint", ["tcp://[::1]:0", "tcp://[::]:0"])
def test_a_name_with_an_ipv6_address_only_connects(net: Net, keys: dict[str, Keys], endpoint: str) -> None:
    two = member(net, keys, "n2", endpoint)
    one = member(net, keys, "n1", look_up=Names(two="::1"))
    one.connect("n2", named(two, "two"))
    two.connect("n1", str(one.endpoint))
    assert net.run(lambda: net.is_up("n1", "n2") and net.is_up("n2", "n1"))


def test_one_that_listens_at_all_addresses_is_reached_by_both_protocols(
    net: Net, keys: dict[str, Keys]
) -> None:
    two = member(net, keys, "n2", "tcp://[::]:0")
    port = split_tcp(str(two.endpoint))[1]
    for name, host in (("n1", "127.0.0.1"), ("n3", "[::1]")):
        member(net, keys, name).connect("n2", f"tcp://{host}:{port}")
        assert net.run(lambda name=name: net.is_up(name, "n2"))


def test_a_connection_is_kept_until_the_peer_s_new_name_has_an_address(
    net: Net, keys: dict[str, Keys]
) -> None:
    names = Names()
    two = member(net, keys, "n2")
    one = member(net, keys, "n1", look_up=names)
    one.connect("n2", str(two.endpoint))
    assert net.run(lambda: net.is_up("n1", "n2"))
    one.connect("n2", named(two, "two"))
    assert net.run(lambda: names.asked["two.example"] >= 3), "it is looked for all the time"
    assert not any(isinstance(event, PeerDown) for event in net.changes("n1"))
    endpoint = str(two.endpoint)
    net.close(two)
    assert net.run(lambda: not net.is_up("n1", "n2"))
    member(net, keys, "n2", endpoint, incarnation=2)
    assert net.run(lambda: net.is_up("n1", "n2"))


def test_a_new_endpoint_is_gone_to_once_its_name_has_an_address(net: Net, keys: dict[str, Keys]) -> None:
    names = Names()
    two = member(net, keys, "n2")
    one = member(net, keys, "n1", look_up=names)
    one.connect("n2", str(two.endpoint))
    assert net.run(lambda: net.is_up("n1", "n2"))
    elsewhere = member(net, keys, "n2", "tcp://127.0.0.2:0", incarnation=2)
    one.connect("n2", named(elsewhere, "two"))
    assert net.run(lambda: one.counters["name not resolved"] == 1)
    names.addresses["two.example"] = ["127.0.0.2"]
    net.run(lambda: net.is_up("n1", "n2"))
    assert one.send("n2", b"to the new place") is None
    net.events["n2"].clear()
    assert net.run(lambda: elsewhere.receive() != [] or b"to the new place" in net.payloads("n2"))


def test_an_answer_after_the_end_is_missed_by_no_one() -> None:
    names = Names(two="127.0.0.1")
    names.silent.add("two.example")
    resolver = Resolver(names)
    resolver.ask("two.example")
    (thread,) = (each for each in threading.enumerate() if each.name == "resolver of two.example")
    resolver.close()
    resolver.close()
    names.speak()
    thread.join(WAIT_SECONDS)
    assert not thread.is_alive()
    assert resolver.take() == []


def test_one_listens_at_addresses_and_is_told_so(net: Net, keys: dict[str, Keys]) -> None:
    with pytest.raises(
        EndpointError, match=r"n1\.example is a name, and not of this machine: listen at an address"
    ):
        member(net, keys, "n1", "tcp://n1.example:7001")


@pytest.mark.parametrize(
    ("endpoint", "name"),
    [
        ("tcp://n1.example:7001", "n1.example"),
        ("tcp://10.0.0.1:7001", ""),
        ("tcp://[fd00::1]:7001", ""),
        ("tcp://localhost:7001", ""),
        ("tcp://*:7001", ""),
        ("ipc:///run/n1.example", ""),
    ],
)
def test_only_names_are_looked_up(endpoint: str, name: str) -> None:
    assert name_in(endpoint) == name


def test_an_address_takes_the_place_of_the_name() -> None:
    assert at_address("tcp://n1.example:7001", "10.0.0.1") == "tcp://10.0.0.1:7001"
    assert at_address("tcp://n1.example:7001", "fd00::1") == "tcp://[fd00::1]:7001"


def test_the_system_is_asked_and_says_what_is_wrong() -> None:
    assert "127.0.0.1" in look_up("localhost")
    for absurd in ("no-such-host.invalid", "x" * 64 + ".example"):
        with pytest.raises((OSError, UnicodeError)):
            look_up(absurd)


def test_who_sends_to_a_name_that_leads_nowhere_is_told_so(net: Net, keys: dict[str, Keys]) -> None:
    names = Names()
    guest = net.guest("n1", keys=keys["n1"], tuning=QUICK, look_up=names, waits_for_welcome=True)
    guest.connect("n2", "tcp://two.example:7001")
    why = "the name two.example cannot be resolved: Name or service not known"
    assert net.run(lambda: guest.send("n2", b"x") == why)
    two = member(net, keys, "n2")
    names.addresses["two.example"] = ["127.0.0.1"]
    guest.connect("n2", named(two, "two"))
    assert net.run(lambda: guest.send("n2", b"x") is None)
