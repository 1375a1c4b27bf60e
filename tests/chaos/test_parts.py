"""What a run is made of: pace, records, gaps, keys, evidence, and what a power cut takes."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from actors.clock import ManualClock, ScaledClock
from raft.cli.verbs.lab.chaos import report_directory
from raft.client.errors import ClientError, FenceRejected, OutcomeUnknown, SessionExpired, Unreachable
from raft.cluster.failures import BadUsage
from raft.core.types import ConfState, Entry, HardState, Snapshot
from raft.lab.chaos import tally
from raft.lab.chaos.evidence import committed_values, state_hashes
from raft.lab.chaos.run import availability, longest_gap
from raft.lab.chaos.workloads.keys import Keys
from raft.lab.checkers.leadership import judge_states
from raft.lab.checkers.recorder import Recorder
from raft.lab.checkers.records import Record
from raft.machines.codec import encode_call
from raft.machines.commands import Call, Operation, Own, Put
from raft.node.snapshots.contents import State, pack_state
from raft.storage.faulty import FaultyFiles
from raft.storage.files import RealFiles
from raft.storage.record import Identity
from raft.storage.snapshots import sealed
from raft.storage.store import Store
from raft.storage.unsynced import Unsynced


def test_keys_change_after_so_many_steps_and_are_all_remembered() -> None:
    keys = Keys("k", 2)
    assert [keys.next(0) for _ in range(3)] == ["k0.0", "k0.0", "k0.1"]
    assert keys.next(1) == "k1.0"
    assert keys.used() == ["k0.0", "k0.1", "k1.0"]


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [
        (OutcomeUnknown("?"), "unknown"),
        (SessionExpired("it may have been done before"), "unknown"),
        (Unreachable("no node"), "refused"),
        (FenceRejected("e", 1, 2), "refused"),
    ],
)
def test_only_what_was_surely_not_done_counts_as_refused(failure: ClientError, outcome: str) -> None:
    recorder = Recorder(lambda: 1.0)
    record = recorder.called("c0", "put", "k", value="v")

    async def fail() -> None:
        raise failure

    assert asyncio.run(recorder.settle(record, fail())) is None
    assert record.outcome == outcome
    assert (record.returned is None) == (outcome == "unknown")


def test_a_gap_is_measured_whole_even_if_only_its_end_meets_the_fault() -> None:
    assert longest_gap([1.0, 4.0, 4.1], 3.9, 4.0) == 3.0
    assert longest_gap([], 1.0, 3.0) == 2.0
    assert longest_gap([1.0, 1.1], 1.0, 5.0) == pytest.approx(3.9)


def test_availability_tells_the_gap_around_each_fault() -> None:
    moments = [0.1 * step for step in range(20)] + [2.5 + 0.1 * step for step in range(20)]
    writes = [
        Record(client="c", op="put", key="k", value="v", call=at, returned=at, outcome="done")
        for at in moments
    ]
    measured = availability(writes, [(0.0, 0.1), (2.0, 2.1)], 0.0, 4.4)
    assert measured.longest_gap_seconds == pytest.approx(0.6)
    assert measured.gap_seconds_max == pytest.approx(0.6)


def test_the_time_after_the_clients_have_stopped_is_no_gap() -> None:
    writes = [
        Record(client="c", op="put", key="k", value="v", call=at, returned=at, outcome="done")
        for at in (0.0, 0.1, 0.2, 0.3)
    ]
    measured = availability(writes, [(-0.5, 0.1), (0.25, 0.3)], 0.0, 0.3)
    assert measured.gap_seconds_max == measured.longest_gap_seconds == pytest.approx(0.1)


def test_the_tally_is_a_good_machine() -> None:
    commands = [tally.encode(tally.Append("l", "a")), tally.encode(tally.Add("n", 3))]
    machine = tally.Tally()
    for index, command in enumerate([*commands, *commands], 1):
        machine.apply(index, command)
    assert machine.query(tally.encode(tally.ReadList("l"))) == tally.encode(["a", "a"])
    assert machine.query(tally.encode(tally.ReadCounter("n"))) == tally.encode(6)
    copy = tally.Tally()
    copy.restore(machine.snapshot())
    assert copy.snapshot() == machine.snapshot()


def write_log(directory: Path, operations: list[Operation], first: int = 2) -> None:
    store = Store.open(directory, identity=Identity("c", 1))
    entries = [
        Entry(1, index, data=encode_call(Call(0, 0, 0, operation)))
        for index, operation in enumerate(operations, first)
    ]
    if first > 1:
        store.save(HardState(1, 0, 1), (), sealed(Snapshot(index=1, term=1)))
    store.save(HardState(1, 1, 1), entries, None)
    store.close()


def test_a_scaled_clock_goes_on_from_where_it_was() -> None:
    inner = ManualClock(10.0)
    clock = ScaledClock(inner)
    inner.advance(1.0)
    assert clock.now() == 11.0
    clock.rate = 2.0
    inner.advance(1.0)
    assert clock.now() == 13.0
    clock.rate = 1.0
    inner.advance(1.0)
    assert clock.now() == 14.0


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        return self.seconds


def test_a_power_cut_takes_what_was_not_synced_and_nothing_else(tmp_path: Path) -> None:
    files = FaultyFiles(RealFiles())
    files.unsynced = Unsynced()
    file = files.create(tmp_path / "log")
    file.allocate(16)
    file.write(0, b"synced..")
    file.sync()
    file.write(4, b"LOST")
    file.write(6, b"TOO.")
    assert (tmp_path / "log").read_bytes()[:10] == b"syncLOTOO."
    files.unsynced.lose()
    assert (tmp_path / "log").read_bytes() == b"synced..".ljust(16, b"\0")


def test_what_is_old_was_written_back_by_the_kernel(tmp_path: Path) -> None:
    clock = Clock()
    unsynced = Unsynced(kept_seconds=1.0, now=clock.now)
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    unsynced.write(descriptor, 0, 3, lambda: os.pwrite(descriptor, b"old", 0) and None)
    clock.seconds = 1.5
    unsynced.write(descriptor, 0, 3, lambda: os.pwrite(descriptor, b"new", 0) and None)
    unsynced.lose()
    assert (tmp_path / "file").read_bytes() == b"old"
    os.close(descriptor)


def test_logs_say_which_values_are_committed(tmp_path: Path) -> None:
    operations: list[Operation] = [
        Put(b"k", b"v1"),
        Put(b"s0.0/element", b""),
        Own(tally.encode(tally.Append("l", "appended"))),
    ]
    write_log(tmp_path / "n1", operations)
    write_log(tmp_path / "n2", operations[:1])
    assert committed_values(tmp_path, [1, 2]) == {"v1", "element", "appended"}


def test_a_log_without_its_beginning_says_nothing(tmp_path: Path) -> None:
    write_log(tmp_path / "n1", [Put(b"k", b"v1")], first=1)
    assert committed_values(tmp_path, [1]) is None


def test_what_a_removed_node_has_left_is_no_evidence(tmp_path: Path) -> None:
    write_log(tmp_path / "n1", [Put(b"k", b"v1")])
    write_log(tmp_path / "n2", [Put(b"k", b"v2")], first=1)
    assert committed_values(tmp_path, [2]) is None


def write_state(directory: Path, index: int, machine: bytes) -> None:
    store = Store.open(directory, identity=Identity("c", 1))
    for step in range(1, index + 1):
        store.save(HardState(1, 1, step), [Entry(1, step, data=b"")], None)
    state = State({1: "here"}, {}, [])
    store.save_snapshot(sealed(Snapshot(index, 1, ConfState((1,)), bytes(pack_state(state, [machine])))))
    store.close()


def test_the_last_snapshots_tell_what_each_machine_was(tmp_path: Path) -> None:
    for node, index, machine in ((1, 3, b"one"), (2, 3, b"one"), (3, 3, b"other"), (4, 2, b"earlier")):
        write_state(tmp_path / f"n{node}", index, machine)
    assert judge_states(state_hashes(tmp_path, [1, 2, 4])) == ()
    assert len(state_hashes(tmp_path, [1, 2, 4])) == 3
    (anomaly,) = judge_states(state_hashes(tmp_path, [1, 2, 3, 4]))
    assert "n3" in anomaly.text


def test_a_log_that_makes_no_sense_tells_of_no_machine(tmp_path: Path) -> None:
    write_state(tmp_path / "n1", 3, b"one")
    (segment,) = (tmp_path / "n1").glob("*.wal")
    segment.write_bytes(b"x" * 64)
    assert state_hashes(tmp_path, [1]) == []


def test_a_report_never_overwrites_an_earlier_one(tmp_path: Path) -> None:
    directories = []
    for _ in range(3):
        with report_directory(tmp_path / "run") as directory:
            (directory / "schedule.toml").write_text("")
            directories.append(directory.name)
    assert directories == ["run", "run.2", "run.3"]
    assert (tmp_path / "run.latest").resolve().name == "run.3"


def test_a_report_is_not_put_where_something_else_is(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("")
    with pytest.raises(BadUsage, match="something other"), report_directory(tmp_path):
        pass
