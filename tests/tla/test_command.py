"""The check of a trace by the TLA+ specification, with a stand-in for Java that notes how it was called."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.tla.__main__ import ACCEPTED, CONFIGURATION, MODULE, NOT_CHECKED, REJECTED, main

LINES = ['{"level":"debug","ts":"0003","n":3}', '{"level":"debug","ts":"0001","n":1}', '{"ts":"0002","n":2}']


class Checker:
    """A folder with all that a check needs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trace, self.tools, self.modules = folder / "trace", folder / "tools.jar", folder / "modules.jar"
        self.specification, self.java = folder / "tla", folder / "bin" / "java"
        self.specification.mkdir()
        self.java.parent.mkdir()
        for path in (
            self.tools,
            self.modules,
            self.specification / MODULE,
            self.specification / CONFIGURATION,
        ):
            path.touch()
        self.trace.write_text("".join(f"{line}\n" for line in LINES))
        self.let_java_end(0)

    def let_java_end(self, code: int) -> None:
        out = self.folder
        self.java.write_text(
            f'#!/bin/sh\nfor word; do echo "$word"; done >{out}/called\npwd >{out}/where\n'
            f'while read -r line; do echo "$line"; done <"$JSON" >{out}/given\nexit {code}\n'
        )
        self.java.chmod(0o755)

    def check(self) -> int:
        return main([
            str(self.trace), f"--tools={self.tools}", f"--modules={self.modules}",
            f"--specification={self.specification}",
        ])  # fmt: skip


@pytest.fixture
def checker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checker:
    checker = Checker(tmp_path)
    monkeypatch.setenv("PATH", str(checker.java.parent))
    return checker


def test_tlc_is_called_as_etcd_calls_it_in_the_folder_of_the_specification(checker: Checker) -> None:
    assert checker.check() == ACCEPTED
    *start, metadir = (checker.folder / "called").read_text().split()
    assert start == [
        "-XX:+UseParallelGC", "-cp", f"{checker.tools}{os.pathsep}{checker.modules}", "tlc2.TLC",
        "-config", CONFIGURATION, MODULE, "-lncheck", "final", "-metadir",
    ]  # fmt: skip
    assert not Path(metadir).parent.exists()
    assert (checker.folder / "where").read_text().strip() == str(checker.specification)


def test_the_specification_is_given_the_lines_sorted_by_time(checker: Checker) -> None:
    before = checker.trace.read_text()
    checker.check()
    given = (checker.folder / "given").read_text().splitlines()
    assert [json.loads(line)["n"] for line in given] == [1, 2, 3]
    assert checker.trace.read_text() == before


@pytest.mark.parametrize(
    ("code", "expected"), [(0, ACCEPTED), (11, REJECTED), (12, REJECTED), (13, REJECTED)]
)
def test_a_violation_is_a_rejection(checker: Checker, code: int, expected: int) -> None:
    checker.let_java_end(code)
    assert checker.check() == expected


@pytest.mark.parametrize("code", [1, 75, 150, 151, 255])
def test_a_checker_that_fails_is_no_verdict(
    checker: Checker, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    checker.let_java_end(code)
    assert checker.check() == NOT_CHECKED
    assert f"exit code {code}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("missing", "advice"),
    [
        ("java", "install a Java runtime"),
        ("tools", "download tla2tools.jar"),
        ("modules", "download CommunityModules-deps.jar"),
        ("trace", "raft.node --trace"),
    ],
)
def test_what_is_missing_is_named_with_what_to_do(
    checker: Checker, missing: str, advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    getattr(checker, missing).unlink()
    assert checker.check() == NOT_CHECKED
    assert advice in capsys.readouterr().err


@pytest.mark.parametrize("name", [MODULE, CONFIGURATION])
def test_a_folder_that_is_not_the_specification_is_refused(
    checker: Checker, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (checker.specification / name).unlink()
    assert checker.check() == NOT_CHECKED
    assert f"has no {name}: clone github.com/etcd-io/raft" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "reason"), [("", "no lines"), ('{"ts":"1"}\n{"ts', "line 2"), ("[]\n", "line 1")]
)
def test_a_file_that_is_no_trace_is_refused(
    checker: Checker, text: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    checker.trace.write_text(text)
    assert checker.check() == NOT_CHECKED
    assert reason in capsys.readouterr().err
