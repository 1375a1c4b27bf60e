"""`judge FILE` takes a history from any program: exit codes for programs, line numbers for users."""

from __future__ import annotations

import json

import pytest

from raft.cli.entry import run
from raft.cluster.records.events import LeaderElected, encode_event
from raft.lab.checkers.records import Header, HistoryWriter, read_history, write_history
from tests.checkers.histories import append, get, history, put, read

HEADER = b'{"v":1,"kind":"history","workload":"register"}\n'


def judged(path, *options):
    return run(["judge", str(path), *options], None, 0.0, -1)


def written(tmp_path, recorded):
    path = tmp_path / "history.jsonl"
    write_history(path, recorded.header, recorded.records)
    return path


def test_a_legal_history_exits_0(tmp_path, capsys):
    assert judged(written(tmp_path, history("register", put("a", 1, 2)))) == 0
    assert capsys.readouterr().out.startswith("legal: 1 operation on 1 key")


def test_an_illegal_history_exits_10_and_shows_lines_of_the_file(tmp_path, capsys):
    path = written(tmp_path, history("register", put("a", 1, 2), put("b", 3, 4), get("a", 5, 6)))
    assert judged(path) == 10
    shown = capsys.readouterr().out
    assert "lost-write" in shown
    assert "(line 4)" in shown


def test_an_undecided_history_exits_1(tmp_path):
    assert judged(written(tmp_path, history("append", append("a", 1, 2), append("a", 3, 4)))) == 1


def test_the_directory_of_a_run_is_judged_by_its_history_and_its_elections(tmp_path, capsys):
    written(tmp_path, history("register", put("a", 1, 2)))
    assert judged(tmp_path) == 0
    two = [
        LeaderElected(node=node, term=4, previous=0, votes=2, voters=3, took_ms=1.0, reason="startup")
        for node in (1, 2)
    ]
    (tmp_path / "events.jsonl").write_bytes(b"".join(encode_event(event) + b"\n" for event in two))
    assert judged(tmp_path) == 10
    assert "both led term 4" in capsys.readouterr().out


def test_a_directory_without_a_history_is_bad_usage(tmp_path, capsys):
    assert judged(tmp_path) == 2
    assert "history.jsonl cannot be read" in capsys.readouterr().err


def test_a_verdict_is_json_for_programs(tmp_path, capsys):
    assert judged(written(tmp_path, history("append", append("a", 1, 2), read([], 3, 4))), "-o", "json") == 10
    verdict = json.loads(capsys.readouterr().out)
    assert (verdict["v"], verdict["ruling"], verdict["anomalies"][0]["name"]) == (1, "illegal", "lost-append")


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (b"", "line 1: the file is empty"),
        (b"hello\n", "line 1: no header"),
        (b'{"v":2,"kind":"history","workload":"register"}\n', "line 1: version 2"),
        (b'{"v":1,"kind":"history","workload":"queue"}\n', "line 1: workload 'queue' is unknown"),
        (HEADER + b"\n{", "line 3:"),
        (HEADER + b'{"client":"c","op":"get","key":"k"}\n', "line 2: Object missing required field `call`"),
        (
            HEADER + b'{"client":"c","op":"pop","call":1}\n',
            "line 2: op 'pop' is not part of the workload register",
        ),
        (
            HEADER + b'{"client":"c","op":"get","call":1,"outcome":"done"}\n',
            "line 2: an operation that is done has a return",
        ),
        (
            HEADER + b'{"client":"c","op":"get","call":2,"return":1,"outcome":"done"}\n',
            "line 2: it returns at 1.0, before its call at 2.0",
        ),
        (
            HEADER + b'{"client":"c","op":"get","call":1,"return":2,"outcome":"done","result":[7]}\n',
            "line 2: its result is neither text nor null",
        ),
        (HEADER + b'{"client":"c","op":"put","call":1}\n', "line 2: its value is not text"),
        (
            HEADER + b'{"client":"c","op":"cas","call":1,"return":2,"outcome":"done","result":true}\n',
            "line 2: its result is not",
        ),
        (
            HEADER + b'{"client":"c","op":"get","call":1,"outcome":"lost"}\n',
            "line 2: Invalid enum value 'lost'",
        ),
    ],
)
def test_a_malformed_history_is_a_usage_error_that_names_the_line(tmp_path, capsys, lines, complaint):
    path = tmp_path / "history.jsonl"
    path.write_bytes(lines)
    assert judged(path) == 2
    assert complaint in capsys.readouterr().err


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path):
    assert judged(tmp_path / "nothing") == 2


def test_what_is_written_is_read_again_in_order_of_the_calls(tmp_path):
    path = tmp_path / "history.jsonl"
    writer = HistoryWriter(path, Header(workload="register", seed=7))
    for record in (put("b", 3, None), put("a", 1, 2)):
        writer.write(record)
    writer.close()
    found = read_history(path)
    assert (found.header.seed, [record.value for record in found.records]) == (7, ["a", "b"])
    assert [record.line for record in found.records] == [3, 2]


def test_a_line_that_is_nested_too_deeply_is_a_usage_error(tmp_path, capsys):
    path = tmp_path / "history.jsonl"
    path.write_text('{"a":' * 5000 + "1" + "}" * 5000)
    assert judged(path) == 2
    assert "line 1: " in capsys.readouterr().err
