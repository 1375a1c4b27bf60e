"""Logs of several nodes as one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from raft.cluster.failures import BadUsage
from raft.cluster.logs import LogFilter, NodeLog, arrived, log_filter, merged
from raft.cluster.views import Paint, log_line


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


def logs(directory: Path, *contents: str) -> list[NodeLog]:
    for node, text in enumerate(contents, 1):
        (directory / f"n{node}.log").write_text(text)
    return [NodeLog(directory / f"n{node}.log", node) for node in range(1, len(contents) + 1)]


def messages(files: list[NodeLog], wanted: LogFilter | None = None, last: int | None = None) -> list[str]:
    return [line.message for line in merged(files, wanted or LogFilter(), last)]


def test_lines_of_several_nodes_are_merged_by_time(tmp_path: Path) -> None:
    files = logs(tmp_path, line(1, "a") + line(4, "d"), line(2, "b") + line(3, "c"))
    assert messages(files) == ["a", "b", "c", "d"]


def test_a_line_that_is_no_object_stays_behind_its_predecessor(tmp_path: Path) -> None:
    files = logs(tmp_path, line(1, "a") + "a word of a library\n" + line(5, "e"), line(3, "c"))
    assert messages(files) == ["a", "a word of a library", "c", "e"]


def test_rotated_files_come_first(tmp_path: Path) -> None:
    files = logs(tmp_path, line(3, "new"))
    (tmp_path / "n1.log.1").write_text(line(2, "old"))
    assert messages(files) == ["old", "new"]


def test_level_words_and_number_of_lines_are_filtered(tmp_path: Path) -> None:
    text = (
        line(1, "calm")
        + line(2, "bad", level="ERROR")
        + line(3, "odd", level="WARNING", event="term-changed")
    )
    files = logs(tmp_path, text)
    assert messages(logs(tmp_path, text), log_filter("warning", None, None)) == ["bad", "odd"]
    assert messages(logs(tmp_path, text), log_filter(None, "term-.*|calm", None)) == ["calm", "odd"]
    assert messages(files, last=2) == ["bad", "odd"]


def test_old_lines_are_left_out_by_age(tmp_path: Path) -> None:
    assert messages(logs(tmp_path, line(1, "long ago")), log_filter(None, None, 10.0)) == []


def test_an_unknown_level_or_a_broken_expression_is_a_usage_error() -> None:
    with pytest.raises(BadUsage, match="warning"):
        log_filter("loud", None, None)
    with pytest.raises(BadUsage, match="regular expression"):
        log_filter(None, "(", None)


def test_what_arrives_later_is_seen_once_and_only_in_whole_lines(tmp_path: Path) -> None:
    files = logs(tmp_path, line(1, "a"))
    assert messages(files) == ["a"]
    with (tmp_path / "n1.log").open("a") as file:
        file.write(line(2, "b") + line(3, "c")[:10])
    assert [entry.message for entry in arrived(files, LogFilter())] == ["b"]
    assert arrived(files, LogFilter()) == []


def test_a_new_file_under_the_old_name_is_read_from_its_beginning(tmp_path: Path) -> None:
    files = logs(tmp_path, line(1, "a"))
    assert messages(files) == ["a"]
    (tmp_path / "n1.log").rename(tmp_path / "n1.log.1")
    (tmp_path / "n1.log").write_text(line(2, "b"))
    assert [entry.message for entry in arrived(files, LogFilter())] == ["b"]


def test_a_log_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    assert messages([NodeLog(tmp_path / "n1.log", 1)]) == []


def test_a_line_is_shown_with_time_node_role_term_and_words(tmp_path: Path) -> None:
    (entry,) = merged(logs(tmp_path, line(1, "won", event="leader-elected", level="WARNING")), LogFilter())
    assert log_line(entry, Paint(False)) == "00:00:01.000 n1 follower t2     WARNING leader-elected won"


def test_every_line_can_be_had_as_an_object(tmp_path: Path) -> None:
    files = logs(tmp_path, line(1, "a") + "a word\n")
    objects = [json.loads(entry.as_json()) for entry in merged(files, LogFilter())]
    assert [entry["message"] for entry in objects] == ["a", "a word"]
    assert all(entry["v"] == 1 for entry in objects)
