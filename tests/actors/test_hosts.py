"""Several hosts as one system: when one is unreachable, when it is down, and what runs on which."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actors import Address, Host, HostChanged, MonitorHosts, ProcessSystem
from actors.errors import ActorsError, AskFailed, BadAddress, TransportError
from actors.processes.hosts import HOSTS, HostKeeper
from actors.transport.curve import KeysError, generate
from tests.actors.workers import TAGS, Done, Job, Worker
from tests.actors.world import Probe, World
from tests.examples.test_examples import free_port


class Map:
    """Programs of hosts on a loopback network, each with an actor that monitors the others."""

    def __init__(self, *names: str) -> None:
        self.world = World()
        self.keepers: dict[str, HostKeeper] = {}
        self.seen: dict[str, list[Any]] = {}
        for name in names:
            self.start(name)

    def start(self, name: str) -> None:
        runtime = self.world.process(name)
        keeper = self.keepers[name] = HostKeeper(name, f"at {name}", 10.0)
        runtime.spawn(lambda: keeper, HOSTS)
        probe, self.seen[name] = self.world.probe(runtime)
        table = {**Probe.handlers, HostChanged: Probe.on_any}
        self.world.do(runtime, probe, lambda actor: actor.context.become(table))
        watch = MonitorHosts(probe)
        self.world.do(runtime, probe, lambda actor: actor.context.ask(Address(name, HOSTS), watch, 1.0))

    def join(self, name: str, other: str) -> None:
        self.keepers[name].join(other, f"at {other}")
        self.world.advance(0.2)

    def changes(self, name: str) -> list[tuple[str, str]]:
        return [(change.host, change.state) for change in self.seen[name] if type(change) is HostChanged]


def test_who_joins_one_host_joins_all_that_it_knows() -> None:
    hosts = Map("a", "b", "c")
    hosts.join("b", "a")
    hosts.join("c", "b")
    for name in "abc":
        assert hosts.keepers[name].states == dict.fromkeys(sorted({"a", "b", "c"} - {name}), "up")
    assert ("c", "up") in hosts.changes("a")


def test_a_host_that_is_not_heard_is_unreachable_and_after_a_while_down() -> None:
    hosts = Map("a", "b")
    hosts.join("b", "a")
    hosts.world.network.crash("b")
    hosts.world.advance(9.0)
    assert hosts.keepers["a"].states == {"b": "unreachable"}
    hosts.world.advance(2.0)
    assert hosts.keepers["a"].states == {}
    assert hosts.changes("a")[-3:] == [("b", "up"), ("b", "unreachable"), ("b", "down")]


def test_a_host_that_is_heard_again_in_time_is_up_again() -> None:
    hosts = Map("a", "b")
    hosts.join("b", "a")
    hosts.world.network.crash("b")
    hosts.world.advance(5.0)
    hosts.start("b")
    hosts.world.advance(20.0)
    assert hosts.keepers["a"].states == {"b": "up"}
    assert hosts.keepers["b"].states == {"a": "up"}, "it was told who else there is"


def test_a_host_that_leaves_is_down_at_once() -> None:
    hosts = Map("a", "b")
    hosts.join("b", "a")
    hosts.keepers["b"].leave()
    hosts.world.settle()
    assert hosts.changes("a")[-1] == ("b", "down")


def host_of(directory: Path, name: str) -> Host:
    return Host(
        listen=f"tcp://127.0.0.1:{free_port()}",
        keys=str(directory / f"{name}.toml"),
        cluster="test",
        down_after_seconds=0.5,
    )


@pytest.mark.processes
def test_processes_of_all_hosts_reach_each_other_and_are_missed_when_their_host_goes(tmp_path: Path) -> None:
    generate(tmp_path, ["a", "b"])
    there = host_of(tmp_path, "b")
    with ProcessSystem(TAGS, host=host_of(tmp_path, "a")) as here:
        with ProcessSystem(TAGS, host=there) as other:
            here.join("b", there.listen)
            worker = other.spawn_process(Worker, "b.worker")
            other.wait_for("b.worker", 60.0)
            while not here.hosts or "b.worker" not in here.runtime.peers:
                other.run_until(lambda: False, 0.01)
                here.run_until(lambda: False, 0.01)
            done = here.ask(worker, Job(7))
            assert isinstance(done, Done)
            assert done.number == 7
            assert here.hosts == {"b": "up"}
            with pytest.raises(BadAddress, match=r"named a\.something"):
                here.spawn_process(Worker, "b.mine")
        assert here.run_until(lambda: here.hosts == {}), here.hosts
        with pytest.raises(AskFailed, match=r"b\.worker"):
            here.ask(worker, Job(8), timeout_seconds=0.1)


@pytest.mark.processes
def test_a_host_with_a_key_that_is_not_allowed_stays_out(tmp_path: Path) -> None:
    generate(tmp_path / "ours", ["a"])
    generate(tmp_path / "theirs", ["b"])
    (tmp_path / "theirs" / "allowed.toml").write_bytes((tmp_path / "ours" / "allowed.toml").read_bytes())
    ours = host_of(tmp_path / "ours", "a")
    with (
        ProcessSystem(TAGS, host=ours) as here,
        ProcessSystem(TAGS, host=host_of(tmp_path / "theirs", "b")) as stranger,
    ):
        stranger.join("a", ours.listen)
        for _ in range(20):
            stranger.run_until(lambda: False, 0.01)
            here.run_until(lambda: False, 0.01)
        assert here.hosts == {}
        assert stranger.hosts == {"a": "unreachable"}
        assert here.runtime.transport.counters["stranger"] > 0


def test_what_a_host_needs_is_said_before_anything_is_started(tmp_path: Path) -> None:
    with pytest.raises(KeysError):
        ProcessSystem(TAGS, host=Host(listen="tcp://127.0.0.1:1", keys=str(tmp_path / "none.toml")))
    with pytest.raises(ValueError, match="down_after_seconds"):
        Host(listen="tcp://127.0.0.1:1", keys="x", down_after_seconds=0)
    generate(tmp_path / "keys", ["a"])
    (tmp_path / "keys" / "a.lives").write_text("many\n")
    with pytest.raises(TransportError, match="how many incarnations"):
        ProcessSystem(TAGS, host=host_of(tmp_path / "keys", "a"))
    with ProcessSystem(TAGS) as alone, pytest.raises(ActorsError, match="no other hosts"):
        alone.join("b", "tcp://127.0.0.1:1")
