"""Log lines: their fields, their file, and a disk that is full."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from actors.processes.logs import Line, LogFile, ProcessLog, print_line


@pytest.fixture(autouse=True)
def _no_handlers_left() -> Iterator[None]:
    yield
    logger.remove()


def log_to_file(path: Path, *, incarnation: int = 1, extra: Any = dict, **limits: int) -> ProcessLog:
    """The log of a process n1 that loguru writes to as well."""
    log = ProcessLog(LogFile(path, **limits).write, node="n1", incarnation=incarnation, extra=extra)
    log.take_over_loguru()
    return log


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_has_its_fields_in_order_then_the_extra_ones(tmp_path: Path) -> None:
    log_to_file(tmp_path / "n1.jsonl", incarnation=3, extra=lambda: {"term": 4, "role": "leader"})
    logger.info("won with {votes} votes", event="elected", votes=3)
    (line,) = lines(tmp_path / "n1.jsonl")
    assert list(line) == ["time", "level", "node", "incarnation", "event", "message", "term", "role", "votes"]
    del line["time"]
    assert list(line.values()) == ["INFO", "n1", 3, "elected", "won with 3 votes", 4, "leader", 3]


def test_a_line_needs_no_logger_of_loguru(tmp_path: Path) -> None:
    log = log_to_file(tmp_path / "n1.jsonl", incarnation=3, extra=lambda: {"term": 4})
    log("WARNING", "elected", "won with {votes} votes", votes=3, node="other")
    (line,) = lines(tmp_path / "n1.jsonl")
    assert list(line) == ["time", "level", "node", "incarnation", "event", "message", "term", "votes"]
    del line["time"]
    assert list(line.values()) == ["WARNING", "n1", 3, "elected", "won with {votes} votes", 4, 3]


def test_each_writer_gets_each_line_above_the_level() -> None:
    one: list[Line] = []
    other: list[Line] = []
    log = ProcessLog(one.append, other.append, node="n1", incarnation=1, level="WARNING")
    log("INFO", "", "this is not written")
    log("WARNING", "", "this is")
    assert [line["message"] for line in one] == [line["message"] for line in other] == ["this is"]


def test_a_line_for_people_goes_to_standard_error_and_one_that_cannot_stops_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = ProcessLog(print_line, node="n1", incarnation=1)
    log("INFO", "elected", "won {this}")
    assert capsys.readouterr().err.endswith(" INFO elected: won {this}\n")
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr("sys.stderr", closed)
    log("INFO", "elected", "is lost")


def test_an_exception_is_logged_with_its_traceback(tmp_path: Path) -> None:
    log_to_file(tmp_path / "n1.jsonl")
    try:
        raise ValueError("bad")
    except ValueError:
        logger.exception("it failed")
    (line,) = lines(tmp_path / "n1.jsonl")
    assert line["traceback"].startswith("Traceback") and "ValueError: bad" in line["traceback"]


def test_what_json_does_not_know_and_what_would_hide_a_field_does_no_harm(tmp_path: Path) -> None:
    log_to_file(tmp_path / "n1.jsonl")
    logger.bind(node="other", what=object, line="a\nb").info("x\ny")
    (line,) = lines(tmp_path / "n1.jsonl")
    assert (line["node"], line["message"], line["what"]) == ("n1", "x\ny", "<class 'object'>")


def test_below_the_level_nothing_is_written_nor_looked_up(tmp_path: Path) -> None:
    looked_up: list[int] = []
    log_to_file(tmp_path / "n1.jsonl", extra=lambda: {"n": looked_up.append(1)})
    logger.debug("this is not read")
    assert lines(tmp_path / "n1.jsonl") == []
    assert looked_up == []


def test_nothing_goes_to_standard_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log_to_file(tmp_path / "n1.jsonl")
    logger.error("quietly")
    assert capfd.readouterr() == ("", "")


def test_a_file_that_has_grown_is_turned_over_and_the_oldest_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "n1.jsonl"
    log_to_file(path, file_bytes_max=1000, old_files_max=2)
    for number in range(60):
        logger.info("line", number=number)
    files = [tmp_path / "n1.jsonl.2", tmp_path / "n1.jsonl.1", path]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert all(file.stat().st_size <= 1000 for file in files)
    numbers = [line["number"] for file in files for line in lines(file)]
    assert numbers == list(range(numbers[0], 60))


def test_a_file_is_continued_by_the_next_incarnation(tmp_path: Path) -> None:
    for incarnation in (1, 2):
        log_to_file(tmp_path / "n1.jsonl", incarnation=incarnation)
        logger.info("here")
    assert [line["incarnation"] for line in lines(tmp_path / "n1.jsonl")] == [1, 2]


def test_a_full_disk_stops_no_actor_and_the_next_line_tells_what_was_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_to_file(tmp_path / "n1.jsonl")
    write = os.write

    def half(fd: int, data: bytes) -> int:
        return write(fd, data[:10])

    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "no space")

    for broken in (half, full, full):
        monkeypatch.setattr(os, "write", broken)
        logger.info("lost")
    monkeypatch.undo()
    logger.info("back")
    logger.info("again")
    torn, back, again = (tmp_path / "n1.jsonl").read_text().splitlines()
    assert len(torn) == 10
    assert json.loads(back)["lines_lost"] == 3
    assert "lines_lost" not in json.loads(again)
