"""Sessions: each command is carried out exactly once, however often it is logged, while the lease lasts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft.machines.application import Application
from raft.machines.codec import decode_answer, encode_call
from raft.machines.commands import (
    SESSION_WINDOW,
    VALUE_BYTES_MAX,
    Call,
    Fence,
    Get,
    Grant,
    OpenSession,
    Own,
    Put,
    Revoke,
    Transaction,
)
from raft.machines.results import (
    Acknowledged,
    AnswersFull,
    Done,
    Ended,
    FenceRejected,
    Refused,
    SequenceReused,
    SessionExpired,
    Stored,
    TransactionDone,
    WindowFull,
)
from tests.machines.driving import Driver


class Counter:
    """The least idempotent machine there is."""

    def __init__(self) -> None:
        self.count = 0

    def apply(self, index: int, command: bytes) -> bytes:
        self.count += len(command)
        return b"%d" % self.count

    def query(self, query: bytes) -> bytes:
        return b"%d" % self.count

    def snapshot(self) -> bytes:
        return b"%d" % self.count

    def restore(self, data: bytes) -> None:
        self.count = int(data or b"0")


def test_a_retry_gets_the_first_answer_and_changes_nothing() -> None:
    driver = Driver(Counter())
    session = driver.open()
    assert driver.do(Own(b"+"), session, 1) == Done(b"1")
    assert driver.do(Own(b"+"), session, 2, 1) == Done(b"2")
    assert driver.do(Own(b"+"), session, 2, 1) == Done(b"2")
    assert driver.ask(Own(b"")) == Done(b"2")


def test_a_refusal_is_kept_too_even_if_the_command_would_succeed_now() -> None:
    driver = Driver()
    session = driver.open()
    fence = Fence("e", driver.index + 3)
    assert isinstance(driver.do(Put(b"k", b"v", fence=fence), session, 1), FenceRejected)
    assert isinstance(driver.do(Put(b"k", b"v", fence=fence), session, 1), FenceRejected)


def test_an_acknowledged_command_is_not_carried_out_by_a_late_copy() -> None:
    driver = Driver(Counter())
    session = driver.open()
    driver.do(Own(b"+"), session, 1)
    driver.do(Own(b"+"), session, 2, 1)
    assert driver.do(Own(b"+"), session, 1) == Acknowledged(1)
    assert driver.ask(Own(b"")) == Done(b"2")


def test_commands_may_overtake_each_other() -> None:
    driver = Driver(Counter())
    session = driver.open()
    assert driver.do(Own(b"+"), session, 3) == Done(b"1")
    assert driver.do(Own(b"+"), session, 1) == Done(b"2")
    assert driver.do(Own(b"+"), session, 3) == Done(b"1")


def test_two_programs_that_use_one_session_get_an_error() -> None:
    driver = Driver()
    session = driver.open()
    assert isinstance(driver.do(Put(b"k", b"mine"), session, 1), Stored)
    assert driver.do(Put(b"k", b"theirs"), session, 1) == SequenceReused(session, 1)
    assert driver.ask(Get(b"k")).item.value == b"mine"


@pytest.mark.parametrize("end", [Driver.expire, lambda driver, lease: driver.do(Revoke(lease))])
def test_commands_of_an_expired_session_are_refused(end: Callable[[Driver, int], Any]) -> None:
    driver = Driver()
    session = driver.open()
    driver.do(Put(b"k", b"v"), session, 1)
    assert end(driver, session) == Ended((session,))
    assert driver.do(Put(b"k", b"w"), session, 2, 1) == SessionExpired(session)
    assert driver.do(Put(b"k", b"v"), session, 1) == SessionExpired(session)
    assert driver.ask(Get(b"k")).item.value == b"v"


def test_a_session_that_never_was_is_an_expired_one() -> None:
    assert Driver().do(Put(b"k", b"v"), 17, 1) == SessionExpired(17)


def test_a_plain_lease_is_no_session() -> None:
    driver = Driver()
    lease = driver.do(Grant(1_000)).lease
    assert driver.do(Put(b"k", b"v"), lease, 1) == SessionExpired(lease)


def test_a_session_may_end_itself() -> None:
    driver = Driver()
    session = driver.open()
    assert driver.do(Revoke(session), session, 1) == Ended((session,))
    assert driver.do(Revoke(session), session, 1) == SessionExpired(session)
    assert driver.application.snapshot() == _restored(driver.application).snapshot()


def test_unacknowledged_answers_are_kept_up_to_a_window() -> None:
    driver = Driver()
    session = driver.open()
    for sequence in range(1, SESSION_WINDOW + 1):
        assert isinstance(driver.do(Put(b"k", b""), session, sequence), Stored)
    assert driver.do(Put(b"k", b""), session, SESSION_WINDOW + 1) == WindowFull(0)
    assert isinstance(driver.do(Put(b"k", b""), session, SESSION_WINDOW + 1, 1), Stored)


def test_the_answers_kept_for_a_session_have_a_limit_in_bytes_too() -> None:
    driver = Driver()
    session = driver.open()
    driver.do(Put(b"k", b"v" * VALUE_BYTES_MAX))
    read = Transaction((), (Get(b"k"),) * 4)
    for sequence in (1, 2):
        assert isinstance(driver.do(read, session, sequence), TransactionDone)
    driver.application.restore(driver.application.snapshot())
    full = driver.do(Put(b"k", b""), session, 3)
    assert isinstance(full, AnswersFull)
    assert full.acknowledged == 0 and full.kept_bytes > 8 * VALUE_BYTES_MAX
    assert isinstance(driver.do(Put(b"k", b""), session, 3, 1), Stored)


def test_the_first_unacknowledged_command_is_always_carried_out() -> None:
    driver = Driver()
    session = driver.open()
    driver.do(Put(b"k", b"v" * VALUE_BYTES_MAX))
    read = Transaction((), (Get(b"k"),) * 4)
    for sequence in (2, 3):
        assert isinstance(driver.do(read, session, sequence), TransactionDone)
    assert isinstance(driver.do(Put(b"k", b""), session, 4), AnswersFull)
    assert isinstance(driver.do(Put(b"k", b""), session, 1), Stored)


def test_a_large_jump_of_the_acknowledgement_is_cheap_and_removes_all_answers() -> None:
    driver = Driver()
    session = driver.open()
    driver.do(Put(b"k", b""), session, 1)
    assert isinstance(driver.do(Put(b"k", b""), session, 2**62, 2**62 - 1), Stored)
    assert driver.do(Put(b"k", b""), session, 1) == Acknowledged(1)
    kept = driver.application.sessions.snapshot()[0].kept
    assert [sequence for sequence, _ in kept] == [2**62]


def test_no_answer_is_kept_after_it_was_acknowledged() -> None:
    driver = Driver()
    session = driver.open()
    for sequence in range(1, 6):
        driver.do(Put(b"k", b""), session, sequence)
    driver.do(Put(b"k", b""), session, 6, 4)
    kept = driver.application.sessions.snapshot()[0].kept
    assert [sequence for sequence, _ in kept] == [5, 6]


@pytest.mark.parametrize(("sequence", "acknowledged"), [(0, 0), (1, 1), (-1, -2), (2, -1)])
def test_invalid_sequence_numbers_are_refused(sequence: int, acknowledged: int) -> None:
    driver = Driver()
    assert isinstance(driver.do(Put(b"k", b""), driver.open(), sequence, acknowledged), Refused)


# -- against a model -----------------------------------------------------------------------------


class Step(msgspec.Struct):
    """What the network does next: deliver any copy of a command of the client's, or one of its answers."""

    client: int
    choice: int
    restore: bool


@given(st.lists(st.builds(Step, st.integers(0, 1), st.integers(0, 10**6), st.booleans()), max_size=60))
def test_every_command_counts_once_whatever_is_repeated_late_or_lost(steps: list[Step]) -> None:
    application = Application(Counter())
    sessions = [_open(application, 1), _open(application, 2)]
    sent: list[list[bytes]] = [[], []]  # Every command ever sent stays in the network, to come again.
    answers: list[dict[int, bytes]] = [{}, {}]
    acknowledged, index, carried_out = [0, 0], 2, set()
    for step in steps:
        me = step.client
        sequence = len(sent[me]) + 1
        sent[me].append(encode_call(Call(sessions[me], sequence, acknowledged[me], Own(b"+"))))
        index += 1
        which = step.choice % len(sent[me])
        answer = application.apply(index, sent[me][which])
        if isinstance(decode_answer(answer), Done):
            carried_out.add((me, which))
            assert answers[me].setdefault(which, answer) == answer, "two answers to one command"
        else:
            assert which < acknowledged[me], "a command was refused that was never acknowledged"
        while acknowledged[me] in answers[me]:
            acknowledged[me] += 1
        if step.restore:
            application = _restored(application)
        assert decode_answer(application.query(encode_own())) == Done(b"%d" % len(carried_out))


def encode_own() -> bytes:
    return msgspec.msgpack.encode(Own(b""))


def _open(application: Application, index: int) -> int:
    session: int = decode_answer(
        application.apply(index, encode_call(Call(0, 0, 0, OpenSession(1_000))))
    ).session
    return session


def _restored(application: Application) -> Application:
    other = Application(Counter() if application.own.machine is not None else None)
    other.restore(application.snapshot())
    return other
