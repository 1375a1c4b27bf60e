"""Keys that are replaced while their owners are connected, and strangers who are named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from loguru import logger

from actors.transport.base import NO_KEY
from actors.transport.curve import (
    Entry,
    Grant,
    Keys,
    KeysError,
    generate,
    load,
    read_list,
    remove,
    retire,
    rotate,
)
from actors.transport.endpoints import EndpointError
from actors.transport.zeromq import Tuning, ZeroMqTransport
from tests.actors.net import Net, a_net

TCP = "tcp://127.0.0.1:0"
QUICK = Tuning(refused_retry_seconds=0.05)


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    with a_net(tmp_path) as made:
        yield made


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    generate(tmp_path / "keys", ["n1", "n2", "alice"])
    return tmp_path / "keys"


def keys_of(directory: Path, name: str) -> Keys:
    return load(directory / f"{name}.toml")


def pair(net: Net, directory: Path) -> list[ZeroMqTransport]:
    made = [
        net.node(name, endpoint=TCP, keys=keys_of(directory, name), tuning=QUICK) for name in ("n1", "n2")
    ]
    for one, other in (made, reversed(made)):
        one.connect(other.name, str(other.endpoint))
    assert net.run(lambda: net.is_up("n1", "n2") and net.is_up("n2", "n1"))
    return made


def speak(net: Net, one: ZeroMqTransport, other: ZeroMqTransport, text: bytes) -> None:
    assert one.send(other.name, text) is None
    assert net.run(lambda: text in net.payloads(other.name))


def test_a_key_is_replaced_member_by_member_and_no_other_is_down_for_a_moment(
    net: Net, directory: Path
) -> None:
    one, two = pair(net, directory)
    rotate(directory, "n2")
    one.allow(keys_of(directory, "n1"))
    speak(net, two, one, b"by the old one")
    endpoint = str(two.endpoint)
    net.close(two)
    assert net.run(lambda: not net.is_up("n1", "n2"))
    two = net.node("n2", 2, endpoint=endpoint, keys=keys_of(directory, "n2"), tuning=QUICK)
    two.connect("n1", str(one.endpoint))
    assert net.run(lambda: net.is_up("n1", "n2") and net.is_up("n2", "n1"))
    net.events["n1"].clear()
    assert retire(directory, "n2") == 1
    assert one.allow(keys_of(directory, "n1")) == two.allow(keys_of(directory, "n2")) == set()
    for number in range(3):
        speak(net, one, two, b"to %d" % number)
        speak(net, two, one, b"fro %d" % number)
    assert net.changes("n1") == [], "by then all are connected by the new one"


def test_who_connects_finds_out_by_which_of_two_keys_a_peer_is_known(net: Net, directory: Path) -> None:
    one = net.node("n1", endpoint=TCP, keys=keys_of(directory, "n1"), tuning=QUICK)
    two = keys_of(directory, "n2")
    rotate(directory, "n2")
    still = Keys("n2", two.public, two.secret, keys_of(directory, "n1").allowed)
    other = net.node("n2", endpoint=TCP, keys=still, tuning=QUICK)
    one.allow(keys_of(directory, "n1"))
    one.connect("n2", str(other.endpoint))
    assert net.run(lambda: net.is_up("n1", "n2"))


def test_a_retired_key_is_turned_away_and_its_connections_are_cut(net: Net, directory: Path) -> None:
    one = net.node("n1", endpoint=TCP, keys=keys_of(directory, "n1"))
    guest = net.guest("alice", keys=keys_of(directory, "alice"))
    guest.connect("n1", str(one.endpoint))
    assert net.run(lambda: net.is_up("n1", "alice"))
    rotate(directory, "alice")
    one.allow(keys_of(directory, "n1"))
    assert guest.send("n1", b"by the old one") is None
    assert net.run(lambda: b"by the old one" in net.payloads("n1"))
    retire(directory, "alice")
    assert one.allow(keys_of(directory, "n1")) == set(), "she has another one"
    assert net.run(lambda: not net.is_up("n1", "alice") and one.counters["stranger"] > 0)


def test_a_stranger_is_named_in_the_log_by_address_and_key(net: Net, directory: Path, tmp_path: Path) -> None:
    said: list[str] = []
    sink = logger.add(
        said.append, format="{extra[event]} {message}", filter=lambda it: "event" in it["extra"]
    )
    one = net.node("n1", endpoint=TCP, keys=keys_of(directory, "n1"))
    generate(tmp_path / "others", ["mallory"])
    stranger = keys_of(tmp_path / "others", "mallory")
    guest = net.guest("mallory", keys=stranger, tuning=QUICK)
    guest.connect("n1", str(one.endpoint), keys_of(directory, "n1").public)
    assert net.run(lambda: one.counters["stranger"] >= 3)
    logger.remove(sink)
    (line,) = [line for line in said if line.startswith("stranger ")]
    assert "127.0.0.1" in line and stranger.public.decode() in line


def test_lists_keep_what_they_say_of_others(directory: Path) -> None:
    generate(directory, ["app.ä"], {"app.ä": Grant("client", 'a"pp/')})
    rotate(directory, "n1")
    entries = read_list(directory)
    assert [len(entries[name].keys) for name in ("n1", "n2", "app.ä")] == [2, 1, 1]
    assert entries["app.ä"].grant == Grant("client", 'a"pp/')
    assert entries["n2"] == Entry(entries["n2"].keys, Grant())
    remove(directory, "app.ä")
    assert set(read_list(directory)) == {"n1", "n2", "alice"}
    assert not (directory / "app.ä.toml").exists()


def test_what_cannot_be_rotated_is_refused_and_nothing_is_changed(directory: Path) -> None:
    rotate(directory, "n1")
    before = {path.name: path.read_text() for path in directory.iterdir()}
    with pytest.raises(KeysError, match="retire the old one first"):
        rotate(directory, "n1")
    for change in (rotate, retire, remove):
        with pytest.raises(KeysError, match="no key of n9"):
            change(directory, "n9")
    assert {path.name: path.read_text() for path in directory.iterdir()} == before


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("n9 = {}", "needs keys"),
        ("n9 = { keys = [] }", "needs keys"),
        ('n9 = { keys = "x" }', "needs keys"),
        ('n9 = { keys = ["short"] }', "lacks a key"),
        ('n9 = { keys = ["short"], rule = "member" }', "no use for 'rule'"),
        ('n9 = { keys = ["KEY"], role = 7 }', "texts"),
        ('n9 = { keys = ["KEY", "KEY"] }', "same key"),
    ],
)
def test_a_list_that_cannot_be_meant_is_refused_with_the_reason(
    directory: Path, line: str, complaint: str
) -> None:
    path = directory / "allowed.toml"
    path.write_text(path.read_text() + line.replace("KEY", "a" * 40) + "\n")
    with pytest.raises(KeysError, match=complaint):
        keys_of(directory, "n1")


def test_one_without_keys_is_reached_over_ipc_only(net: Net, directory: Path) -> None:
    launcher = net.node("launcher")
    one = net.node("n1", endpoint=TCP, keys=keys_of(directory, "n1"))
    with pytest.raises(EndpointError, match="over ipc only"):
        one.connect("launcher", TCP.replace(":0", ":1"), NO_KEY)
    one.connect("launcher", str(launcher.endpoint), NO_KEY)
    assert net.run(lambda: net.is_up("n1", "launcher") and net.is_up("launcher", "n1"))
    speak(net, launcher, one, b"an order")
    one.allow(keys_of(directory, "n1"))
    speak(net, one, launcher, b"a report")
