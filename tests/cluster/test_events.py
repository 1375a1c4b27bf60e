"""Events as lines of JSON, as a journal keeps them, and as people read them."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import msgspec
import pytest

from raft.cli.views import Paint, event_line
from raft.cluster.cluster import ElectionSafety
from raft.cluster.records.events import (
    ClusterStarted,
    Event,
    EventLog,
    EventReader,
    EventsLost,
    FaultInjected,
    LeaderElected,
    NodeExited,
    Violation,
    decode_event,
    encode_event,
    read_events,
)
from raft.cluster.records.journal import Journal
from raft.cluster.records.timestamps import Stamp, TimeStyle, wall_seconds

ELECTED = LeaderElected(
    t=12.0311,
    wall="2026-01-01T00:00:00.000Z",
    node=3,
    term=4,
    previous=1,
    votes=3,
    voters=5,
    took_ms=8.4,
    reason="leader-died",
)


def test_an_event_is_one_object_with_version_time_and_name() -> None:
    told = json.loads(encode_event(ELECTED))
    assert (told["v"], told["t"], told["event"]) == (1, 12.0311, "leader-elected")
    assert decode_event(encode_event(ELECTED)) == ELECTED


def test_an_exit_tells_of_a_signal_or_of_a_code_and_never_of_both() -> None:
    killed = json.loads(encode_event(NodeExited(node=1, pid=7, cause="injected", signal="SIGKILL")))
    ended = json.loads(encode_event(NodeExited(node=1, pid=7, cause="crash", code=3)))
    assert killed["signal"] == "SIGKILL"
    assert "code" not in killed
    assert ended["code"] == 3
    assert "signal" not in ended


def test_a_leader_line_reads_as_programs_expect_it() -> None:
    assert event_line(ELECTED, Paint(False)) == (
        "12.031s  LEADER n3  term 4  3/5 votes  in 8.4 ms  (leader n1 died)"
    )


def test_a_leader_that_follows_itself_is_not_said_to_have_followed_another() -> None:
    again = msgspec.structs.replace(ELECTED, previous=ELECTED.node, reason="timeout")
    assert event_line(again, Paint(False)).endswith("(leads again)")


def test_a_leader_that_was_only_seen_has_no_votes_and_its_predecessor_is_not_said_to_have_timed_out() -> None:
    seen = msgspec.structs.replace(ELECTED, votes=0, voters=0, took_ms=0.0, reason="seen")
    assert event_line(seen, Paint(False)) == "12.031s  LEADER n3  term 4  (seen)"


def test_lines_are_plain_without_a_terminal_and_coloured_with_one() -> None:
    assert "\x1b" not in event_line(ELECTED, Paint(False))
    assert "\x1b[" in event_line(ELECTED, Paint(True))


def test_a_crash_shows_its_last_word() -> None:
    crash = NodeExited(node=2, pid=7, cause="crash", code=1, traceback="Traceback\n  ...\nValueError: no")
    assert event_line(crash, Paint(False)).endswith("(crash)  ValueError: no")


def test_a_journal_stamps_events_with_the_clusters_own_time_and_tells_its_listener(tmp_path: Path) -> None:
    heard: list[Event] = []
    journal = Journal(EventLog(tmp_path / "events.jsonl"), started_seconds=100.0)
    journal.listener = heard.append
    journal.record(FaultInjected(id=1, kind="kill", nodes=[2], text="kill n2"), 103.5)
    journal.close()
    (event,) = read_events(tmp_path / "events.jsonl")
    assert event.t == 3.5
    assert event.wall.endswith("Z")
    assert heard == [event] == journal.events


def test_a_reader_goes_on_where_it_was_and_waits_for_the_end_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    line = encode_event(ELECTED) + b"\n"
    path.write_bytes(line + line[:20])
    reader = EventReader(path)
    assert len(list(reader.new())) == 1
    assert list(reader.new()) == []
    with path.open("ab") as file:
        file.write(line[20:])
    assert list(reader.new()) == [ELECTED]
    reader.close()


def test_a_second_leader_in_a_term_is_a_violation_and_the_same_one_again_is_not() -> None:
    safety = ElectionSafety()
    assert safety.note_leader(1, 3) is None
    assert safety.note_leader(1, 3) is None
    assert safety.note_leader(2, 4) is None
    assert safety.note_leader(1, 5) == 3


@pytest.mark.parametrize("colour", [True, False])
def test_a_violation_is_loud(colour: bool) -> None:
    line = event_line(Violation(term=1, nodes=[3, 5], text="two leaders in term 1: n3 and n5"), Paint(colour))
    assert "VIOLATION" in line


def test_a_reader_that_is_left_in_the_middle_goes_on_with_the_next_event(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    for node in (1, 2, 3):
        log.append(NodeExited(node=node, pid=7, cause="stopped", code=0))
    log.close()
    reader = EventReader(path)
    first = next(iter(reader.new()))
    assert [first, *reader.new()] == read_events(path)
    reader.close()


def started(wall: str = "") -> ClusterStarted:
    return ClusterStarted(nodes=3, pid=1, wall=wall)


def exited(node: int) -> NodeExited:
    return NodeExited(node=node, pid=7, cause="stopped", code=0)


def test_events_of_earlier_runs_are_kept_and_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for node in (1, 2):
        log = EventLog(path)
        log.append(started())
        log.append(exited(node))
        log.close()
    assert read_events(path) == [started(), exited(2)]
    reader = EventReader(path, all_runs=True)
    assert list(reader.new()) == [started(), exited(1), started(), exited(2)]
    reader.close()


def test_a_file_of_events_is_put_aside_when_it_has_grown_and_a_reader_misses_none(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path, file_bytes_max=1_000)
    log.append(exited(1))
    reader = EventReader(path)
    for node in range(2, 18):
        log.append(exited(node))
    assert [event.node for event in reader.new() if isinstance(event, NodeExited)] == list(range(1, 18))
    for _ in range(500):
        log.append(exited(1))
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 3_000
    reader.close()
    log.close()


def test_events_that_could_not_be_written_are_counted_and_told_of_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    log.append(exited(1))
    real_write = os.write
    room = 10

    def write(fd: int, data: bytes) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = real_write(fd, data[:room])
        room -= written
        return written

    with monkeypatch.context() as full:
        full.setattr("raft.cluster.records.events.os.write", write)
        log.append(exited(2))  # Torn.
        log.append(exited(3))
    log.append(exited(4))
    log.close()
    assert read_events(path) == [exited(1), EventsLost(lost=2), exited(4)]


def test_a_line_that_a_crash_has_torn_is_left_out_and_harms_no_other(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(encode_event(exited(1)) + b"\n" + encode_event(exited(2))[:15])
    log = EventLog(path)
    log.append(exited(3))
    log.close()
    assert read_events(path) == [exited(1), exited(3)]


def test_moments_are_shown_since_the_start_on_the_wall_or_as_how_long_ago() -> None:
    event = NodeExited(node=1, pid=7, cause="stopped", code=0, t=2.5, wall="2026-01-01T10:00:02.500Z")
    moment = wall_seconds("2026-01-01T10:00:02.500Z")
    zero, now = moment - 2.5, moment + 61.0
    assert Stamp(TimeStyle.ELAPSED, zero, now).of_event(event) == "2.500s"
    assert Stamp(TimeStyle.ELAPSED, zero, now).of_wall(moment) == "2.500s"
    assert Stamp(TimeStyle.AGO, zero, now).of_event(event) == "1m1s ago"
    assert Stamp(TimeStyle.WALL, zero, now).of_event(event).endswith(":02.500")
    assert Stamp(TimeStyle.WALL, zero, now).of_elapsed(2.5).endswith(":02.500")


def test_what_a_crashed_node_said_cannot_move_a_terminals_cursor() -> None:
    crash = NodeExited(node=2, pid=7, cause="crash", code=1, traceback="\x1b[2Jgone")
    assert event_line(crash, Paint(False)).endswith("\\x1b[2Jgone")


def test_a_file_that_was_removed_is_begun_again_and_one_that_was_truncated_is_followed(
    tmp_path: Path,
) -> None:
    first, second, third = (msgspec.structs.replace(ELECTED, term=term) for term in (1, 2, 3))
    path = tmp_path / "logs" / "events.jsonl"
    path.parent.mkdir()
    log = EventLog(path)
    log.append(first)
    shutil.rmtree(path.parent)
    log.append(second)
    reader = EventReader(path)
    assert list(reader.new()) == [second]
    os.truncate(path, 0)
    assert list(reader.new()) == []
    log.append(third)
    assert list(reader.new()) == [third]
    reader.close()
    log.close()
