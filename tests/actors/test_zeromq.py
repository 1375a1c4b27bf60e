"""The ZeroMQ transport over real sockets, in one process and with peers that are killed and paused."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.processes.child import ChildProcess, ForkServer
from actors.transport.base import IncarnationUsed, PeerDown, PeerUp, Received
from actors.transport.curve import generate, load
from actors.transport.endpoints import EndpointError
from actors.transport.zeromq import Tuning, ZeroMqTransport
from tests.actors.net import WAIT_SECONDS, Net, a_net

CHILDREN = "tests.actors.children"
# With these a peer is known to be down by its closed connection, or not in the time of a test.
NO_HEARTBEATS = Tuning(heartbeat_milliseconds=600_000, heartbeat_timeout_milliseconds=600_000)


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    with a_net(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    started = ForkServer.start([CHILDREN, "actors.transport.zeromq"])
    yield started
    started.close()


def echo(server: ForkServer, net: Net, argument: str) -> ChildProcess:
    child = server.spawn(f"{CHILDREN}:echo", argument.encode(), log_path=net.directory / "log")
    child.wait_started(WAIT_SECONDS)
    return child


@pytest.mark.parametrize("endpoint", [None, "tcp://127.0.0.1:0"])
def test_peers_come_up_and_hear_each_other_in_order(net: Net, endpoint: str | None) -> None:
    one, _two = net.pair(endpoint=endpoint)
    assert net.changes("n1") == [PeerUp("n2", 1)]
    sent = [str(number).encode() for number in range(50)]
    assert [one.send("n2", payload) for payload in sent] == [None] * 50
    assert net.run(lambda: len(net.payloads("n2")) == 50)
    assert net.payloads("n2") == sent


def test_bytes_to_and_from_each_process_that_is_connected_to_are_counted(net: Net) -> None:
    one, two = net.pair()
    assert (one.traffic(), two.traffic()) == ({"n2": (0, 0)}, {"n1": (0, 0)})
    assert one.send("n2", b"12345") is two.send("n1", b"123") is None
    assert net.run(lambda: net.payloads("n2") == [b"12345"] and net.payloads("n1") == [b"123"])
    assert (one.traffic(), two.traffic()) == ({"n2": (5, 3)}, {"n1": (3, 5)})
    one.connect("n2", str(two.endpoint))
    assert one.traffic() == {"n2": (5, 3)}


def test_a_guest_is_answered_through_the_connection_it_made(net: Net) -> None:
    node = net.node("n1")
    guest = net.guest("guest")
    guest.connect("n1", str(node.endpoint))
    assert net.run(lambda: net.is_up("guest", "n1") and net.is_up("n1", "guest"))
    assert guest.send("n1", b"question") is None
    assert net.run(lambda: net.payloads("n1") == [b"question"])
    assert node.send("guest", b"answer") is None
    assert net.run(lambda: net.payloads("guest") == [b"answer"])


def test_a_guest_that_left_is_down_for_the_sender_at_once(net: Net) -> None:
    node = net.node("n1")
    guest = net.guest("guest")
    guest.connect("n1", str(node.endpoint))
    assert net.run(lambda: net.is_up("n1", "guest"))
    net.close(guest)
    assert net.run(lambda: node.send("guest", b"answer") == "down")
    assert net.run(lambda: not net.is_up("n1", "guest"))


def test_a_guest_whose_connection_stands_is_never_forgotten_and_those_that_left_are(net: Net) -> None:
    node = net.node("n1", tuning=Tuning(incarnations_max=3))

    def visit(name: str) -> ZeroMqTransport:
        guest = net.guest(name)
        guest.connect("n1", str(node.endpoint))
        assert net.run(lambda: net.is_up("n1", name))
        return guest

    visit("stays")
    for number in range(12):
        visit(f"leaves{number}").close()
        net.transports.pop()
    assert net.is_up("n1", "stays") and node.send("stays", b"still there?") is None

    def up() -> list[int]:
        return [number for number in range(12) if net.is_up("n1", f"leaves{number}")]

    assert net.run(lambda: len(up()) <= 3 and 0 not in up()), up()


def test_sends_are_refused_with_a_reason_and_never_wait(net: Net) -> None:
    node = net.node("n1", tuning=Tuning(frame_bytes_max=1000))
    assert node.send("n2", b"") == "unknown"
    node.connect("n2", net.endpoint("n2"))
    assert node.send("n2", b"") == "down"
    assert node.send("n2", b"x" * 1001) == "too big"
    assert dict(node.counters) == {"send: unknown": 1, "send: down": 1, "send: too big": 1}


def test_nothing_is_kept_for_a_peer_that_is_not_there(net: Net) -> None:
    one, two = net.pair()
    net.close(two)
    assert net.run(lambda: not net.is_up("n1", "n2"))
    for _ in range(50):
        one.send("n2", b"stale")
    net.events["n2"].clear()
    net.node("n2", 2).connect("n1", str(one.endpoint))
    assert net.run(lambda: net.is_up("n1", "n2") and one.send("n2", b"fresh") is None)
    assert net.run(lambda: net.payloads("n2") != [])
    assert set(net.payloads("n2")) == {b"fresh"}


@pytest.mark.processes
def test_a_peer_that_is_stopped_fills_its_queue_and_the_sender_is_told(net: Net, server: ForkServer) -> None:
    one = net.node("n1", tuning=Tuning(frames_queued_max=5, heartbeat_timeout_milliseconds=60_000))
    child = echo(server, net, f"n2 1 {net.endpoint('n2')} n1={one.endpoint}")
    one.connect("n2", net.endpoint("n2"))
    assert net.run(lambda: net.is_up("n1", "n2"))
    child.kill(signal.SIGSTOP)
    accepted = refused_in_a_row = 0
    while refused_in_a_row < 20 and accepted < 50:
        if one.send("n2", b"x" * 100_000) == "full":
            refused_in_a_row += 1
            one.poll(0.01)
            one.receive()
        else:
            accepted += 1
            refused_in_a_row = 0
    child.kill(signal.SIGKILL)
    assert accepted < 50, "the sender's queue, and what the system keeps in its own"


@pytest.mark.processes
@pytest.mark.parametrize("kind", ["ipc", "tcp"])
def test_a_killed_peer_is_known_down_at_once(net: Net, server: ForkServer, kind: str) -> None:
    one = net.node("n1", endpoint="tcp://127.0.0.1:0" if kind == "tcp" else None, tuning=NO_HEARTBEATS)
    port = net.node("free", endpoint="tcp://127.0.0.1:0")
    endpoint = str(port.endpoint) if kind == "tcp" else net.endpoint("n2")
    net.close(port)
    child = echo(server, net, f"n2 1 {endpoint} n1={one.endpoint}")
    one.connect("n2", endpoint)
    assert net.run(lambda: net.is_up("n1", "n2") and one.send("n2", b"hello") is None)
    assert net.run(lambda: b"hello" in net.payloads("n1"))
    child.kill(signal.SIGKILL)
    assert net.run(lambda: not net.is_up("n1", "n2"))
    assert net.changes("n1")[-1] == PeerDown("n2", "connection closed")


@pytest.mark.processes
def test_a_restarted_peer_is_heard_at_once_and_in_its_new_incarnation(net: Net, server: ForkServer) -> None:
    one = net.node("n1", tuning=NO_HEARTBEATS)
    one.connect("n2", net.endpoint("n2"))
    for incarnation in (1, 2, 3):
        child = echo(server, net, f"n2 {incarnation} {net.endpoint('n2')} n1={one.endpoint}")
        assert net.run(lambda incarnation=incarnation: PeerUp("n2", incarnation) in net.events["n1"])  # type: ignore[misc]
        assert net.run(lambda: one.send("n2", b"hello") is None)
        assert net.run(
            lambda incarnation=incarnation: Received("n2", incarnation, b"hello") in net.events["n1"]
        )  # type: ignore[misc]
        child.kill(signal.SIGKILL)
        assert net.run(lambda: not net.is_up("n1", "n2"))
        child.wait(WAIT_SECONDS)
    assert [event.incarnation for event in net.changes("n1") if isinstance(event, PeerUp)] == [1, 2, 3]


def test_a_peer_that_says_hello_is_connected_to_without_waiting_for_the_next_try(net: Net) -> None:
    patient = Tuning(reconnect_milliseconds=60_000)
    one, two = net.node("n1", tuning=patient), net.node("n2")
    net.close(two)
    one.connect("n2", net.endpoint("n2"))
    assert net.run(lambda: one.send("n2", b"") == "down")
    net.node("n2", 2).connect("n1", str(one.endpoint))
    assert net.run(lambda: net.is_up("n1", "n2") and net.is_up("n2", "n1"))


def test_a_guest_finds_a_node_that_comes_back_at_once(net: Net) -> None:
    node, guest = net.node("n1"), net.guest("guest")
    guest.connect("n1", str(node.endpoint))
    for incarnation in (2, 3, 4):
        assert net.run(lambda: net.is_up("guest", "n1"))
        net.close(net.transports[-1] if incarnation > 2 else node)
        assert net.run(lambda: not net.is_up("guest", "n1"))
        net.node("n1", incarnation)
        assert net.run(lambda: net.is_up("guest", "n1"), 0.5)


@pytest.mark.processes
def test_a_paused_peer_goes_down_by_heartbeats_and_comes_back_when_resumed(
    net: Net, server: ForkServer
) -> None:
    quick = Tuning(heartbeat_milliseconds=50, heartbeat_timeout_milliseconds=150, handshake_milliseconds=150)
    one = net.node("n1", tuning=quick)
    child = echo(server, net, f"n2 1 {net.endpoint('n2')} n1={one.endpoint}")
    one.connect("n2", net.endpoint("n2"))
    assert net.run(lambda: net.is_up("n1", "n2"))
    child.kill(signal.SIGSTOP)
    assert net.run(lambda: not net.is_up("n1", "n2"))
    child.kill(signal.SIGCONT)

    def echoed() -> bool:
        one.send("n2", b"again")  # Again and again: its own connection to us has to come back, too.
        return b"again" in net.payloads("n1")

    # On a busy machine it may go down once more at heartbeats as quick as these.
    assert net.run(lambda: echoed() and net.is_up("n1", "n2"))
    child.kill(signal.SIGKILL)


def test_transports_that_share_a_context_do_not_stop_each_other_by_being_closed(net: Net) -> None:
    """libzmq's thread may wait for ever for a reader of a socket's end, and serves all of them."""
    for number in range(3):
        node = net.node("n1", number + 1, endpoint="tcp://127.0.0.1:*")
        guests = [net.guest(f"g{number}.{which}") for which in range(3)]
        for guest in guests:
            guest.connect("n1", str(node.endpoint))
        assert net.run(lambda: all(net.is_up(guest.name, "n1") for guest in guests))  # noqa: B023
        for guest in guests:
            guest.send("n1", b"on its way when all are closed")
        for transport in (node, *guests):
            net.close(transport)


def test_what_is_told_of_a_connection_that_is_not_looked_at_holds_up_no_other(net: Net) -> None:
    guest = net.guest("guest")
    guest.connect("n1", net.endpoint("n1"))
    monitor = guest._link_to["n1"].monitor
    assert monitor is not None
    assert monitor.rcvhwm == 0, "unlimited: libzmq's thread never waits for a reader"


def test_an_earlier_incarnation_is_not_heard_any_more(net: Net) -> None:
    one = net.node("n1")
    late = net.guest("n2")
    late.connect("n1", str(one.endpoint))
    assert net.run(lambda: net.is_up("n2", "n1"))
    later = ZeroMqTransport("n2", 2, cluster="test")
    net.transports.append(later)
    later.connect("n1", str(one.endpoint))
    assert net.run(lambda: PeerUp("n2", 2) in net.events["n1"])
    late.send("n1", b"from the past")
    assert net.run(lambda: one.counters["older incarnation"] == 1)
    later.send("n1", b"from the present")
    assert net.run(lambda: net.payloads("n1") == [b"from the present"])


def test_a_process_that_comes_back_with_a_number_it_had_before_is_told_so(net: Net) -> None:
    one, earlier = net.pair()
    for _ in range(20):
        earlier.send("n1", b"much")
    assert net.run(lambda: len(net.payloads("n1")) == 20)
    net.transports.remove(earlier)
    earlier.close()
    assert net.run(lambda: not net.is_up("n1", "n2"))
    again = net.node("n2")
    again.connect("n1", str(one.endpoint))
    assert net.run(lambda: IncarnationUsed("n1", 1) in net.events["n2"])


def test_another_cluster_is_not_heard(net: Net) -> None:
    one = net.node("n1")
    foreigner = net.guest("n2", cluster="elsewhere")
    foreigner.connect("n1", str(one.endpoint))
    assert net.run(lambda: one.counters["foreign"] >= 1)
    assert net.events["n1"] == []


def test_a_process_that_answers_in_another_s_place_is_not_heard(net: Net) -> None:
    one, two = net.node("n1"), net.node("n2")
    one.connect("n3", str(two.endpoint))
    assert net.run(lambda: one.counters["misnamed"] >= 1)
    assert net.events["n1"] == []


def test_disconnecting_reports_down_and_connecting_again_up(net: Net) -> None:
    one, two = net.pair()
    one.connect("n2", str(two.endpoint))
    one.disconnect("n2")
    one.disconnect("n2")
    assert one.receive() == [PeerDown("n2", "disconnected")]
    for _ in range(3):
        one.connect("n2", str(two.endpoint))
        net.events["n1"].clear()
        assert net.run(lambda: net.is_up("n1", "n2"))
        one.disconnect("n2")


def test_wake_ends_a_wait_from_another_thread_and_is_harmless_after_close(net: Net) -> None:
    one = net.node("n1")
    thread = threading.Thread(target=one.wake)
    thread.start()
    one.poll(None)
    thread.join()
    net.close(one)
    one.wake()
    one.close()


def test_readers_are_called_while_their_descriptor_is_readable(net: Net) -> None:
    one = net.node("n1")
    read, write = os.pipe()
    called: list[bytes] = []
    one.add_reader(read, lambda: called.append(os.read(read, 1)))
    os.write(write, b"a")
    one.poll(WAIT_SECONDS)
    assert called == [b"a"]
    one.remove_reader(read)
    one.remove_reader(read)
    os.write(write, b"b")
    one.poll(0.0)
    assert called == [b"a"]
    os.close(read)
    os.close(write)


def test_a_socket_in_use_is_not_stolen_and_none_is_left_behind(net: Net) -> None:
    one = net.node("n1")
    with pytest.raises(EndpointError, match="another process listens"):
        ZeroMqTransport("n1", 2, cluster="test", endpoint=net.endpoint("n1"))
    net.close(one)
    assert list(net.directory.iterdir()) == []


@pytest.mark.processes
def test_who_sends_much_and_goes_does_not_bring_down_who_was_too_busy_to_read(
    net: Net, server: ForkServer
) -> None:
    child = server.spawn(f"{CHILDREN}:flood", net.endpoint("n1").encode(), log_path=net.directory / "log")
    child.wait_started(WAIT_SECONDS)
    child.wait(WAIT_SECONDS)
    assert child.returncode == 0, (net.directory / "log").read_text()


@pytest.mark.processes
def test_the_socket_of_a_dead_process_is_taken_over(net: Net, server: ForkServer) -> None:
    one = net.node("n1")
    one.connect("n2", net.endpoint("n2"))
    child = echo(server, net, f"n2 1 {net.endpoint('n2')}")
    assert net.run(lambda: net.is_up("n1", "n2"))
    child.kill(signal.SIGKILL)
    child.wait(WAIT_SECONDS)
    assert (net.directory / "n2").exists()
    net.node("n2", 2)
    assert net.run(lambda: PeerUp("n2", 2) in net.events["n1"])


def test_a_port_in_use_and_an_address_of_another_machine_are_clear_errors(net: Net, tmp_path: Path) -> None:
    one = net.node("n1", endpoint="tcp://127.0.0.1:0")
    with pytest.raises(EndpointError, match="in use"):
        net.node("n2", endpoint=str(one.endpoint))
    with pytest.raises(EndpointError, match="needs CURVE keys"):
        net.node("n2", endpoint="tcp://0.0.0.0:0")
    with pytest.raises(EndpointError, match="needs CURVE keys"):
        one.connect("n2", "tcp://192.0.2.1:7001")
    generate(tmp_path / "keys", ["n2"])
    with pytest.raises(EndpointError, match="cannot listen at"):
        net.node("n2", endpoint="tcp://192.0.2.1:0", keys=load(tmp_path / "keys" / "n2.toml"))


@pytest.mark.parametrize("wrong", ["cluster", "name"])
def test_a_guest_gives_nothing_to_another_process_than_it_means_and_says_which_one_is_there(
    net: Net, wrong: str
) -> None:
    node = net.node("n2")
    cluster = "elsewhere" if wrong == "cluster" else "test"
    guest = net.guest("guest", cluster=cluster, waits_for_welcome=True)
    meant = "n2" if wrong == "cluster" else "n1"
    other = "n2 of cluster 'test'" if wrong == "cluster" else "n2"
    guest.connect(meant, str(node.endpoint))
    expected = f"{other} listens at {node.endpoint}, not {meant} of cluster {cluster!r}"
    assert net.run(lambda: guest.send(meant, b"an order") == expected)
    assert not [event for event in net.events["n2"] if isinstance(event, Received)]


def test_a_guest_gives_nothing_to_a_process_that_has_not_said_who_it_is(net: Net) -> None:
    node = net.node("n1")
    guest = net.guest("guest", waits_for_welcome=True)
    guest.connect("n1", str(node.endpoint))
    while guest.send("n1", b"an order") == "down":
        assert net.run(lambda: True)
        for transport in net.transports:
            transport.poll(0.001)
            net.events[transport.name] += transport.receive()
    assert net.is_up("guest", "n1"), "it was not sent before"
