"""The cluster's version as part of the replicated state, and the user's own machine under it."""

from __future__ import annotations

from typing import Any

import pytest

from raft.machines.agreement import Agreement
from raft.machines.application import Application
from raft.machines.codec import decode_answer, encode_call
from raft.machines.commands import NODE, Agree, Call, Downgrade, OpenSession, Operation, Own
from raft.machines.machine import WrongVersion
from raft.machines.results import Agreed, Answer, Done, Opened, TooNew
from raft.machines.typed import body_of
from tests.machines.banks import Bank, Close, Deposit, OldBank

CLOSE = Own(body_of(Close("alice")), since=2)


class Log:
    """Applies one command after another."""

    def __init__(self, machine: Any) -> None:
        self.application = Application(machine)
        self._index = 0

    def do(self, operation: Operation, session: int = 0, sequence: int = 0) -> Answer:
        self._index += 1
        call = Call(NODE if isinstance(operation, Agree) else session, sequence, 0, operation)
        return decode_answer(self.application.apply(self._index, encode_call(call)))


def test_a_command_that_was_too_new_is_carried_out_once_when_it_is_retried() -> None:
    log = Log(Bank())
    opened = log.do(OpenSession(10_000))
    assert isinstance(opened, Opened)
    log.do(Own(body_of(Deposit("alice", 5))))
    assert log.do(CLOSE, opened.session, 1) == TooNew(2, 1)
    assert log.application.agreement.newest == 1, "it has not been carried out"
    log.do(Agree(2, 2))
    assert [log.do(CLOSE, opened.session, 1) for _ in range(2)] == [Done(b"\x05")] * 2
    assert log.do(CLOSE) == Done(b"\x00")


@pytest.mark.parametrize("whole", [True, False])
def test_a_snapshot_holds_the_agreed_version_and_passes_it_to_the_machine(*, whole: bool) -> None:
    log = Log(Bank())
    log.do(Agree(2, 2))
    log.do(Own(body_of(Deposit("alice", 5, note="hello")), since=2))
    log.do(Downgrade(1, force=True))
    for expected in (Agreement(1, 1, 1), Agreement(2, 0, 1)):
        restored = Application(Bank())
        if whole:
            restored.restore(log.application.snapshot())
        else:
            restored.restore_parts(list(log.application.snapshot_parts()))
        assert restored.agreement == log.application.agreement == expected
        assert restored.own.machine.cluster_version == expected.version  # type: ignore[union-attr]
        assert restored.snapshot() == log.application.snapshot()
        assert isinstance(log.do(Downgrade(0)), Agreed)
        log.do(Agree(2, 2))


def test_a_version_newer_than_the_machine_stops_the_node() -> None:
    log = Log(Bank())
    log.do(Agree(2, 2))
    with pytest.raises(WrongVersion, match="agreed on version 2"):
        Application(OldBank()).restore_parts(list(log.application.snapshot_parts()))
    old = Log(OldBank())
    with pytest.raises(WrongVersion, match="nothing was changed"):
        old.do(Agree(2, 2))
    assert old.application.agreement == Agreement()


def test_a_machine_that_cannot_read_its_snapshot_reports_its_version() -> None:
    log = Log(OldBank())
    log.do(Own(body_of(Deposit("alice", 5))))

    class Other(OldBank):
        def restore(self, data: bytes) -> None:
            raise ValueError("what is this")

    with pytest.raises(WrongVersion, match=r"version 1, cannot read its snapshot.*was 1: ValueError"):
        Application(Other()).restore_parts(list(log.application.snapshot_parts()))


def test_an_error_in_cluster_version_is_is_noted_and_the_machine_continues() -> None:
    class Clumsy(Bank):
        def cluster_version_is(self, version: int) -> None:
            super().cluster_version_is(version)
            if version == 2:
                raise KeyError("alice")

    log = Log(Clumsy())
    assert log.do(Agree(2, 2)) == Agreed(2, 0)
    assert log.application.own.trouble == "cluster_version_is(2) raised KeyError: 'alice'"
    assert isinstance(log.do(CLOSE), Done)


@pytest.mark.parametrize(
    ("agreement", "lowest", "highest", "after"),
    [
        (Agreement(1), 2, 3, Agreement(2)),
        (Agreement(2), 1, 3, Agreement(2)),  # It falls by a downgrade only.
        (Agreement(1, ceiling=1), 2, 2, Agreement(1, ceiling=1)),
        (Agreement(1, ceiling=1), 1, 2, Agreement(1, ceiling=1)),
        (Agreement(1, ceiling=1), 1, 1, Agreement(1)),  # All have come down.
    ],
)
def test_what_the_members_agree_on(agreement: Agreement, lowest: int, highest: int, after: Agreement) -> None:
    assert agreement.agree(Agree(lowest, highest)) == after
    assert (agreement.next(lowest, highest) is None) == (after == agreement)
