"""Logs of several nodes as one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raft.cli.verbs.observe.records import FollowedLogs
from raft.cli.views import Paint, log_line
from raft.cluster.failures import BadUsage
from raft.cluster.records.events import LeaderElected, encode_event
from raft.cluster.records.logs import LINE_BYTES_MAX, ClusterLogs, LogFilter, NodeLog, log_filter
from raft.cluster.records.timestamps import Stamp, wall_seconds
from raft.cluster.spec import ClusterRecord, ClusterSpec, NodeRecord


def line(second: float, message: str, *, level: str = "INFO", event: str = "") -> str:
    time = f"2026-01-01T00:00:{second:09.6f}+00:00"
    fields = {
        "time": time,
        "level": level,
        "node": "n1",
        "incarnation": 1,
        "event": event,
        "message": message,
    }
    return json.dumps({**fields, "role": "follower", "term": 2}) + "\n"


Logs = Callable[..., ClusterLogs]


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[Logs]:
    """The logs of so many nodes with these contents."""
    opened: list[ClusterLogs] = []

    def make(*contents: str) -> ClusterLogs:
        for node, text in enumerate(contents, 1):
            (tmp_path / f"n{node}.log").write_text(text)
        opened.append(ClusterLogs(tmp_path))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def messages(files: ClusterLogs, wanted: LogFilter | None = None) -> list[str]:
    return [line.message for line in files.history() if (wanted or LogFilter()).wants(line)]


def arrived(files: ClusterLogs) -> list[str]:
    return [line.message for line in files.arrived()]


def test_lines_of_several_nodes_are_merged_by_time(tmp_path: Path, logs: Logs) -> None:
    files = logs(line(1, "a") + line(4, "d"), line(2, "b") + line(3, "c"))
    assert messages(files) == ["a", "b", "c", "d"]


def test_a_line_that_is_no_object_stays_behind_its_predecessor(tmp_path: Path, logs: Logs) -> None:
    files = logs(line(1, "a") + "a word of a library\n" + line(5, "e"), line(3, "c"))
    assert messages(files) == ["a", "a word of a library", "c", "e"]


def test_rotated_files_come_first(tmp_path: Path, logs: Logs) -> None:
    files = logs(line(3, "new"))
    (tmp_path / "n1.log.1").write_text(line(2, "old"))
    assert messages(files) == ["old", "new"]


def test_level_and_words_are_filtered(tmp_path: Path, logs: Logs) -> None:
    text = (
        line(1, "calm")
        + line(2, "bad", level="ERROR")
        + line(3, "odd", level="WARNING", event="term-changed")
    )
    assert messages(logs(text), log_filter("warning", None, None)) == ["bad", "odd"]
    assert messages(logs(text), log_filter(None, "term-.*|calm", None)) == ["calm", "odd"]
    assert messages(logs(text), log_filter(None, None, None, exclude="term-")) == ["calm", "bad"]


def test_old_lines_are_left_out_by_age(tmp_path: Path, logs: Logs) -> None:
    assert messages(logs(line(1, "long ago")), log_filter(None, None, 10.0)) == []


def test_an_unknown_level_or_a_broken_expression_is_a_usage_error() -> None:
    with pytest.raises(BadUsage, match="warning"):
        log_filter("loud", None, None)
    with pytest.raises(BadUsage, match="regular expression"):
        log_filter(None, "(", None)


def test_what_arrives_later_is_seen_once_and_only_in_whole_lines(tmp_path: Path, logs: Logs) -> None:
    files = logs(line(1, "a"))
    assert messages(files) == ["a"]
    with (tmp_path / "n1.log").open("a") as file:
        file.write(line(2, "b") + line(3, "c")[:10])
    assert arrived(files) == ["b"]
    assert arrived(files) == []


def test_a_new_file_under_the_old_name_is_read_from_its_beginning(tmp_path: Path, logs: Logs) -> None:
    files = logs(line(1, "a"))
    assert messages(files) == ["a"]
    (tmp_path / "n1.log").rename(tmp_path / "n1.log.1")
    (tmp_path / "n1.log").write_text(line(2, "b"))
    assert arrived(files) == ["b"]


def test_a_log_that_is_not_there_yet_is_empty(tmp_path: Path, logs: Logs) -> None:
    assert list(NodeLog(tmp_path / "n1.log", 1).history()) == []


def test_a_line_is_shown_with_time_node_role_term_and_words(tmp_path: Path, logs: Logs) -> None:
    (entry,) = logs(line(1, "won", event="leader-elected", level="WARNING")).history()
    started = wall_seconds("2026-01-01T00:00:00+00:00")
    shown = log_line(entry, Paint(False), Stamp(zero=started))
    assert shown == "      1.000s n1 follower t2     WARNING leader-elected won"


def test_every_line_can_be_had_as_an_object(tmp_path: Path, logs: Logs) -> None:
    files = logs(line(1, "a") + "a word\n")
    objects = [json.loads(entry.as_json()) for entry in files.history()]
    assert [entry["message"] for entry in objects] == ["a", "a word"]
    assert all(entry["v"] == 1 for entry in objects)


def test_lines_written_just_before_a_rotation_are_not_lost_by_a_follower(tmp_path: Path, logs: Logs) -> None:
    files = logs(line(1, "a"))
    assert arrived(files) == ["a"]
    with (tmp_path / "n1.log").open("a") as file:
        file.write(line(2, "b"))
    (tmp_path / "n1.log").rename(tmp_path / "n1.log.1")
    (tmp_path / "n1.log").write_text(line(3, "c"))
    assert arrived(files) == ["b", "c"]


def test_two_rotations_between_two_looks_lose_nothing(tmp_path: Path, logs: Logs) -> None:
    files = logs(line(1, "a"))
    assert arrived(files) == ["a"]
    (tmp_path / "n1.log").rename(tmp_path / "n1.log.2")
    (tmp_path / "n1.log.1").write_text(line(2, "b"))
    (tmp_path / "n1.log").write_text(line(3, "c"))
    assert arrived(files) == ["b", "c"]


def test_a_truncated_log_is_read_from_its_beginning_again(tmp_path: Path, logs: Logs) -> None:
    files = logs(line(1, "a") + line(2, "b"))
    assert arrived(files) == ["a", "b"]
    (tmp_path / "n1.log").write_text(line(3, "c"))
    assert arrived(files) == ["c"]


def test_a_line_of_megabytes_is_shown_cut_and_the_next_ones_too(logs: Logs) -> None:
    files = logs(line(1, "x" * (2 << 20)) + line(2, "after"))
    long, after = files.history()
    assert after.message == "after"
    shown = log_line(long, Paint(False))
    assert len(shown) < 20_000
    assert "cut: 2,097,152 characters" in shown


def test_a_line_without_an_end_is_kept_in_memory_up_to_a_limit_only(tmp_path: Path, logs: Logs) -> None:
    files = logs("")
    with (tmp_path / "n1.log").open("ab") as file:
        file.truncate(LINE_BYTES_MAX + (8 << 20))
        file.seek(0, 2)
        file.write(b"\n" + line(2, "after").encode())
    torn, after = files.arrived()
    assert len(torn.raw) <= LINE_BYTES_MAX
    assert after.message == "after"


def test_only_a_newline_ends_a_line_and_control_characters_are_escaped(logs: Logs) -> None:
    (entry,) = logs("one\u2028two\x85three\x1b[2Jfour\rfive\n").history()
    shown = log_line(entry, Paint(False))
    assert "one\\u2028two\\x85three\\x1b[2Jfour\\rfive" in shown


def test_a_logged_traceback_follows_its_line(logs: Logs) -> None:
    fields = {"time": "2026-01-01T00:00:01+00:00", "message": "crashed", "traceback": "Traceback\n  boom\n"}
    (entry,) = logs(json.dumps(fields) + "\n").history()
    assert [row.split(maxsplit=1)[-1] for row in log_line(entry, Paint(False)).splitlines()[1:]] == [
        "Traceback",
        "boom",
    ]


def test_a_node_that_joins_later_is_followed_from_its_first_line(tmp_path: Path, logs: Logs) -> None:
    files = logs(line(1, "a"))
    assert arrived(files) == ["a"]
    (tmp_path / "n12.log").write_text(line(2, "b"))
    assert [(entry.node, entry.message) for entry in files.arrived()] == [(12, "b")]


def test_a_line_that_is_nested_too_deeply_or_from_before_all_time_is_shown(logs: Logs) -> None:
    deep = '{"a":' * 5000 + "1" + "}" * 5000 + "\n"
    early = '{"time":"0001-01-02T00:00:00+00:00","message":"early"}\n'
    opened = logs(deep + early + line(1, "next"))
    shown = [entry.message for entry in opened.history() if LogFilter().wants(entry)]
    assert shown == [deep.strip(), "early", "next"]


def test_a_follower_reads_on_when_the_cluster_has_removed_its_events(tmp_path: Path, logs: Logs) -> None:
    logs("", "")
    record = ClusterRecord(
        name="alpha", cluster="alpha-1", pid=1, started_seconds=0.0, data_dir=str(tmp_path),
        log_dir=str(tmp_path), events=str(tmp_path / "events.jsonl"), spec=ClusterSpec(nodes=2),
        nodes=[NodeRecord(id=node, endpoint="", log="") for node in (1, 2)],
    )  # fmt: skip
    elected = LeaderElected(node=1, term=1, previous=0, votes=2, voters=2, took_ms=1.0, reason="startup")
    Path(record.events).write_bytes(encode_event(elected) + b"\n")
    followed = FollowedLogs("leader", record, LogFilter())
    assert list(followed.history(None)) == []
    Path(record.events).unlink()
    (tmp_path / "n1.log").write_text(line(1, "the last one"))
    assert [entry.message for entry in followed.arrived()] == ["the last one"]
    followed.close()
