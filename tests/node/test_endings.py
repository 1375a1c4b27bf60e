"""Proofs that a process has ended, by the operating system; and the record of the last pledge."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from raft.node.leadership.peer_processes import Pledge, Watched
from raft.node.process.endings import PLEDGE, PledgeFile, SystemEndings
from raft.protocol.registry import Process

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="no descriptors of processes here")

CODE = (
    "import sys; from raft.node.process.endings import SystemEndings; own = SystemEndings().own(3);"
    "print(own.machine, own.pid, own.started, own.incarnation, sep='|', flush=True); sys.stdin.read()"
)


@pytest.fixture
def other() -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.communicate()


def named_by(process: subprocess.Popen[str]) -> Process:
    assert process.stdout is not None
    machine, *numbers = process.stdout.readline().strip().split("|")
    return Process(machine, *map(int, numbers))


def watch(process: Process) -> Watched:
    watched = SystemEndings().watch(process)
    assert watched is not None
    return watched


def test_a_process_is_proved_to_have_ended_only_when_it_has(other: subprocess.Popen[str]) -> None:
    named = named_by(other)
    assert (named.pid, named.incarnation) == (other.pid, 3)
    watched = watch(named)
    assert not watched.has_ended()
    os.kill(other.pid, 19)  # SIGSTOP: it may go on.
    assert not watched.has_ended()
    other.kill()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
    assert watched.has_ended(), "though nothing has reaped it"
    other.wait()
    assert watched.has_ended()
    assert watch(named).has_ended(), "it is not there any more"
    watched.close()
    watched.close()


def test_a_process_with_the_pid_of_one_that_has_ended_is_not_taken_for_it() -> None:
    own = SystemEndings().own(1)
    assert own is not None
    assert not watch(own).has_ended()
    assert watch(replace(own, started=own.started - 1)).has_ended()


@pytest.mark.parametrize("machine", ["", "another boot 4:4026531836"])
def test_nothing_is_known_of_a_process_of_another_machine(machine: str) -> None:
    own = SystemEndings().own(1)
    assert own is not None
    assert SystemEndings().watch(replace(own, machine=machine)) is None


def test_without_descriptors_of_processes_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    own = SystemEndings().own(1)
    monkeypatch.delattr(os, "pidfd_open")
    assert own is not None
    assert SystemEndings().own(1) is None
    assert SystemEndings().watch(own) is None


def test_when_no_descriptor_is_left_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    endings = SystemEndings()
    own = endings.own(1)

    def refuse(_pid: int) -> int:
        raise OSError(24, "too many open files")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    assert own is not None
    assert endings.watch(own) is None


def test_a_pledge_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = PledgeFile(tmp_path)
    assert record.read() is None
    for pledge in (Pledge(), Pledge(2, Process("m", 5, 7, 3), 250), Pledge(milliseconds=250)):
        assert record.write(pledge)
        assert PledgeFile(tmp_path).read() == pledge


@pytest.mark.parametrize("damage", [b"", b"{", b'{"node":"x"}', b"\xff\x00"])
def test_a_damaged_pledge_is_an_unknown_one(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / PLEDGE).write_bytes(damage)
    assert PledgeFile(tmp_path).read() is None


def test_a_pledge_that_cannot_be_written_is_not_given(tmp_path: Path) -> None:
    assert not PledgeFile(tmp_path / "gone").write(Pledge())
