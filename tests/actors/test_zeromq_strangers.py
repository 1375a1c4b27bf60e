"""Who and what is turned away at a node's socket: strangers, liars and garbage by the million."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from msgspec.structs import replace

from actors.transport.base import PeerUp
from actors.transport.curve import Keys, KeysError, generate, load
from actors.transport.frames import FrameKind, FrameWriter
from actors.transport.zeromq import Tuning, ZeroMqTransport
from tests.actors.net import Net, a_net

TCP = "tcp://127.0.0.1:0"
MANY = 200_000


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    with a_net(tmp_path) as made:
        yield made


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, Keys]:
    return make_keys(tmp_path / "keys", "n1", "n2", "alice")


def make_keys(directory: Path, *names: str) -> dict[str, Keys]:
    return {path.stem: load(path) for path in generate(directory, names)}


def test_owners_of_allowed_keys_hear_each_other(net: Net, keys: dict[str, Keys]) -> None:
    one, two = net.node("n1", endpoint=TCP, keys=keys["n1"]), net.node("n2", endpoint=TCP, keys=keys["n2"])
    guest = net.guest("alice.7f3", keys=keys["alice"])
    one.connect("n2", str(two.endpoint))
    two.connect("n1", str(one.endpoint))
    guest.connect("n1", str(one.endpoint))
    assert net.run(lambda: net.is_up("n1", "n2") and net.is_up("n2", "n1") and net.is_up("n1", "alice.7f3"))
    assert one.send("n2", b"secret") is None
    assert guest.send("n1", b"question") is None
    assert net.run(lambda: net.payloads("n2") == [b"secret"] and net.payloads("n1") == [b"question"])
    assert one.send("alice.7f3", b"answer") is None
    assert net.run(lambda: net.payloads("alice.7f3") == [b"answer"])


def test_a_stranger_s_key_is_refused_and_counted(net: Net, keys: dict[str, Keys], tmp_path: Path) -> None:
    one = net.node("n1", endpoint=TCP, keys=keys["n1"])
    strange = make_keys(tmp_path / "others", "n2")["n2"]
    stranger = net.guest("n2", keys=strange)
    stranger.connect("n1", str(one.endpoint), keys["n1"].public)
    assert net.run(lambda: one.counters["stranger"] == 1 and stranger.counters["refused by peer"] == 1)
    assert "is our key on its list?" in str(stranger.send("n1", b"let me in"))
    assert net.events["n1"] == []


def test_a_stranger_who_is_allowed_later_needs_no_restart(
    net: Net, keys: dict[str, Keys], tmp_path: Path
) -> None:
    one = net.node("n1", endpoint=TCP, keys=keys["n1"])
    newcomer = make_keys(tmp_path / "others", "n3")["n3"]
    guest = net.guest("n3", keys=newcomer, tuning=Tuning(refused_retry_seconds=0.05))
    guest.connect("n1", str(one.endpoint), keys["n1"].public)
    assert net.run(lambda: guest.counters["refused by peer"] >= 2)
    endpoint = str(one.endpoint)
    net.close(one)
    allowed = Keys("n1", keys["n1"].public, keys["n1"].secret, {**keys["n1"].allowed, "n3": newcomer.public})
    net.node("n1", 2, endpoint=endpoint, keys=allowed)
    assert net.run(lambda: PeerUp("n3", 1) in net.events["n1"])


def test_without_a_key_no_process_gets_in(net: Net, keys: dict[str, Keys]) -> None:
    one = net.node("n1", endpoint=TCP, keys=keys["n1"])
    guest = net.guest("n2")
    guest.connect("n1", str(one.endpoint))
    assert net.run(lambda: one.counters["handshake"] >= 1)
    assert net.run(lambda: str(guest.send("n1", b"let me in")).startswith("refused"))
    assert net.events["n1"] == []
    assert guest.counters["another user listens there"] == 0, "one that has closed is accused of nothing"


def test_a_node_with_another_key_than_expected_is_not_spoken_to(net: Net, keys: dict[str, Keys]) -> None:
    one, two = net.node("n1", endpoint=TCP, keys=keys["n1"]), net.node("n2", endpoint=TCP, keys=keys["n2"])
    one.connect("n2", str(two.endpoint), keys["alice"].public)
    assert net.run(lambda: two.counters["handshake"] >= 1)
    assert one.send("n2", b"secret") == "down"


def test_the_owner_of_one_key_cannot_speak_as_another(net: Net, keys: dict[str, Keys]) -> None:
    one = net.node("n1", endpoint=TCP, keys=keys["n1"])
    with pytest.raises(KeysError, match="with the key of alice"):
        ZeroMqTransport("n2", 1, cluster="test", keys=keys["alice"])
    liar = net.guest("n2", keys=Keys("n2", keys["alice"].public, keys["alice"].secret, keys["alice"].allowed))
    liar.connect("n1", str(one.endpoint))
    assert net.run(lambda: one.counters["misnamed"] >= 1)
    assert net.events["n1"] == []
    with pytest.raises(KeysError, match="no public key of n9"):
        one.connect("n9", TCP.replace(":0", ":1"))


def garbage(rng: random.Random) -> list[list[bytes]]:
    """A thousand bad messages of every kind."""
    good = FrameWriter("test", "n2", 1)
    foreign = FrameWriter("elsewhere", "n2", 9)
    messages: list[list[bytes]] = []
    for number in range(200):
        frame = good.write(number, FrameKind.PAYLOAD, b"")
        mutated = bytearray(frame)
        mutated[rng.randrange(len(mutated))] ^= rng.randrange(1, 256)
        messages += (
            [rng.randbytes(rng.randrange(100))],
            [bytes(mutated)],
            [frame[: rng.randrange(len(frame))]],
            [foreign.write(number, FrameKind.PAYLOAD, b"x")],
            [frame] * rng.randrange(2, 4),
        )
    return messages


def test_a_flood_of_bad_frames_are_dropped_and_counted_and_nothing_else_happens(net: Net) -> None:
    seed = random.randrange(2**32)
    node = net.node("n1", tuning=Tuning(receive_frames_max=4096, frames_queued_max=4096))
    with zmq.Context() as context, context.socket(zmq.DEALER) as attacker:
        attacker.set_hwm(4096)
        attacker.linger = 0
        attacker.connect(str(node.endpoint))
        batch = garbage(random.Random(seed))
        sent = 0
        while sent < MANY:
            for message in batch:
                attacker.send_multipart(message)
            sent += len(batch)
            while sum(node.counters.values()) < sent - 2000:
                node.poll(1.0)
                assert node.receive() == [], f"seed {seed}"
        assert net.run(lambda: sum(node.counters.values()) == sent), f"seed {seed}: {dict(node.counters)}"
    assert set(node.counters) == {"short", "garbage", "version", "corrupt", "foreign", "multipart"}, (
        f"seed {seed}"
    )
    guest = net.guest("n2")
    guest.connect("n1", str(node.endpoint))
    assert net.run(lambda: net.is_up("n1", "n2") and guest.send("n1", b"still there?") is None)
    assert net.run(lambda: net.payloads("n1") == [b"still there?"])


def test_bytes_that_are_no_zeromq_at_all_are_survived(net: Net) -> None:
    node = net.node("n1", endpoint=TCP)
    host, port = str(node.endpoint).removeprefix("tcp://").split(":")
    rng = random.Random(7)
    for _ in range(50):
        with socket.create_connection((host, int(port))) as raw:
            raw.sendall(rng.randbytes(200))
    guest = net.guest("n2")
    guest.connect("n1", str(node.endpoint))
    assert net.run(lambda: net.is_up("n1", "n2"))


def test_a_frame_beyond_the_limit_ends_its_connection_and_no_more(net: Net) -> None:
    node = net.node("n1", tuning=Tuning(frame_bytes_max=1000))
    guest = net.guest("n2")
    guest.connect("n1", str(node.endpoint))
    assert net.run(lambda: net.is_up("n2", "n1"))
    assert guest.send("n1", b"x" * 100_000) is None
    assert net.run(lambda: not net.is_up("n2", "n1"))
    assert net.run(lambda: net.is_up("n2", "n1") and guest.send("n1", b"small") is None)
    assert net.run(lambda: net.payloads("n1") == [b"small"])


def without(keys: Keys, name: str) -> Keys:
    return replace(keys, allowed={other: key for other, key in keys.allowed.items() if other != name})


def test_a_key_that_is_removed_is_cut_off_at_once_and_heard_again_when_it_is_added(
    net: Net, keys: dict[str, Keys]
) -> None:
    one = net.node("n1", endpoint=TCP, keys=keys["n1"])
    guests = [net.guest(name, keys=keys["alice"]) for name in ("alice", "alice.2")]
    kept = net.node("n2", endpoint=TCP, keys=keys["n2"])
    kept.connect("n1", str(one.endpoint))
    one.connect("n2", str(kept.endpoint))
    for guest in guests:
        guest.connect("n1", str(one.endpoint))
    names = ("alice", "alice.2", "n2")
    assert net.run(lambda: all(net.is_up("n1", name) and net.is_up(name, "n1") for name in names))
    assert one.allow(without(keys["n1"], "alice")) == {"alice"}
    guests[0].send("n1", b"one more")  # Whether it leaves or not: it is not heard.
    assert net.run(lambda: not net.is_up("n1", "alice") and not net.is_up("alice.2", "n1"))
    assert net.run(lambda: one.counters["stranger"] > 0)
    assert net.payloads("n1") == []
    assert net.is_up("n1", "n2") and net.is_up("n2", "n1")
    one.allow(keys["n1"])
    assert net.run(lambda: net.is_up("n1", "alice") and net.is_up("alice", "n1"))
    assert guests[0].send("n1", b"here again") is None
    assert net.run(lambda: b"here again" in net.payloads("n1"))


def test_a_peer_whose_key_is_removed_is_not_spoken_to_until_it_has_one_again(
    net: Net, keys: dict[str, Keys]
) -> None:
    one = net.node("n1", endpoint=TCP, keys=keys["n1"])
    two = net.node("n2", endpoint=TCP, keys=keys["n2"])
    one.connect("n2", str(two.endpoint))
    two.connect("n1", str(one.endpoint))
    assert net.run(lambda: net.is_up("n1", "n2") and net.is_up("n2", "n1"))
    one.allow(without(keys["n1"], "n2"))
    assert one.send("n2", b"x") == "down"
    assert net.run(lambda: not net.is_up("n1", "n2") and not net.is_up("n2", "n1"))
    one.allow(keys["n1"])
    assert net.run(lambda: net.is_up("n1", "n2") and net.is_up("n2", "n1"))
