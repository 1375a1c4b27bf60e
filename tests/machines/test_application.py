"""The application as a whole: a deterministic state machine for any input."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from raft.lab.simulation.determinism import check_machine as check_under_hash_seeds
from raft.machines import state as machine_state
from raft.machines.answer_checksum import LastCheck
from raft.machines.application import Application
from raft.machines.codec import decode_answer, encode_nodes_own, encode_question
from raft.machines.commands import (
    COMMAND_BYTES_MAX,
    NODE,
    Call,
    Campaign,
    Compact,
    CompareAndSwap,
    Delete,
    DeleteRange,
    Expire,
    Fence,
    Get,
    GetElection,
    GetLease,
    Grant,
    OpenSession,
    Operation,
    Own,
    Proclaim,
    Put,
    Question,
    Range,
    Resign,
    Revoke,
    Transaction,
    WatchElection,
    WatchKeys,
)
from raft.machines.machine import MachineError, StateMachine
from raft.machines.results import Done, Ended, Refused
from raft.machines.state import FORMAT, State
from raft.machines.testkit import check_machine
from tests.machines.driving import Driver
from tests.machines.test_sessions import Counter

MALFORMED = Refused("these bytes are no request to this machine")


def test_it_is_a_state_machine() -> None:
    assert isinstance(Application(), StateMachine)


@given(st.binary(max_size=64))
@example(b"\x94\x00\x00\x00\x92\x01\xcd\x13\x88")
@example(msgspec.msgpack.encode([0, 0, 0, [6, "e"]]))
@example(b"\x94\x00\x00\x00\x94\x06\xa1\xff\x01")
@example(msgspec.msgpack.encode([0, 0, 0, [99]]))
@example(msgspec.msgpack.encode([2**63, 1, 0, [2, 2**63]]))
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\x91" * 64)
def test_any_bytes_are_answered_by_command_and_query_alike(raw: bytes) -> None:
    application = Application()
    decode_answer(application.apply(1, raw))
    before = application.snapshot()
    decode_answer(application.query(raw))
    assert application.snapshot() == before


def test_malformed_requests_get_a_fixed_answer() -> None:
    application = Application()
    for raw in (b"", b"nonsense", b"\x94\x00\x00\x00\x94\x06\xa1\xff\x01", b"\0" * (COMMAND_BYTES_MAX + 1)):
        assert decode_answer(application.apply(1, raw)) == MALFORMED
        assert decode_answer(application.query(raw)) == MALFORMED


def test_only_nodes_can_expire_a_lease_and_with_one_encoding() -> None:
    driver = Driver()
    lease = driver.lease()
    for session in (0, 1):
        assert driver.apply(msgspec.msgpack.encode(Call(session, 1, 0, Expire((lease,))))) == MALFORMED
    said_otherwise = encode_nodes_own(Expire((lease,))).replace(b"\xff", b"\xd0\xff", 1)
    assert driver.apply(said_otherwise) == MALFORMED
    assert driver.apply(msgspec.msgpack.encode(Call(NODE, 0, 0, Revoke(lease)))) == MALFORMED
    assert driver.expire(lease) == Ended((lease,))


def test_a_command_that_is_too_large_as_a_whole_is_no_request() -> None:
    driver = Driver(Counter())
    fits = raw(Call(0, 0, 0, Own(b"x" * (COMMAND_BYTES_MAX - 12))))
    assert len(fits) == COMMAND_BYTES_MAX
    assert isinstance(driver.apply(fits), Done)
    assert driver.apply(raw(Call(0, 0, 0, Own(b"x" * (COMMAND_BYTES_MAX - 10))))) == MALFORMED


# -- the user's own machine ----------------------------------------------------------------------


class Grumpy(Counter):
    """Fails in all the ways in which a machine can."""

    def apply(self, index: int, command: bytes) -> Any:
        self.count += 1
        if command == b"refuse":
            raise MachineError("not today")
        if command == b"raise":
            raise KeyError(object())
        if command == b"text":
            return "text"
        if command == b"out of memory":
            raise MemoryError
        return super().apply(index, command)


def test_a_machine_that_raises_is_an_answer_and_equal_on_all_replicas() -> None:
    one, two = Driver(Grumpy()), Driver(Grumpy())
    for driver in (one, two):
        session = driver.open()
        assert driver.do(Own(b"refuse"), session, 1) == Refused("not today")
        assert driver.do(Own(b"raise"), session, 2) == Refused("the machine raised KeyError")
        assert driver.do(Own(b"text"), session, 3) == Refused("the machine answered with str, not with bytes")
        assert driver.do(Own(b"refuse"), session, 1) == Refused("not today")
        assert driver.ask(Own(b"")) == Done(b"3")
    assert one.application.state_hash() == two.application.state_hash()


def test_an_error_of_the_environment_is_not_an_answer() -> None:
    with pytest.raises(MemoryError):
        Driver(Grumpy()).do(Own(b"out of memory"))


@pytest.mark.parametrize("error", [MemoryError(), FileNotFoundError("table.csv")])
def test_a_query_that_fails_for_lack_of_memory_is_only_refused(error: Exception) -> None:
    class Groundless(Counter):
        def query(self, body: bytes) -> bytes:
            raise error

    answer = Driver(Groundless()).ask(Own(b""))
    assert answer == Refused(f"the machine raised {type(error).__name__}")


def test_without_a_user_machine_its_commands_are_refused() -> None:
    assert Driver().do(Own(b"")) == Refused("this cluster has no machine of the user's own")


def test_a_snapshot_can_be_restored_only_by_its_own_machine() -> None:
    plain, counting = Application(), Application(Counter())
    with pytest.raises(MachineError):
        plain.restore(counting.snapshot())
    with pytest.raises(MachineError):
        counting.restore(plain.snapshot())
    with pytest.raises(MachineError):
        plain.restore(b"nonsense")
    newer = State(FORMAT + 1, 0, LastCheck(), 0, 0, [], [], [], [], [], None)
    with pytest.raises(MachineError, match="format"):
        plain.restore(msgspec.msgpack.encode(newer))


# -- determinism ---------------------------------------------------------------------------------

names = st.sampled_from(["e", "f"])
keys = st.sampled_from([b"a", b"b", b"c", b"d"])
# Leases, sessions and tokens are log indexes: small numbers are likely to hit one.
numbers = st.integers(0, 20)
fences = st.none() | st.builds(Fence, names, numbers)
operations = st.one_of(
    st.builds(OpenSession, st.just(1_000)),
    st.builds(Grant, st.sampled_from([0, 1_000])),
    st.builds(Revoke, numbers),
    st.builds(Expire, st.lists(numbers, max_size=6).map(tuple)),
    st.builds(Campaign, names, numbers, keys, st.integers(0, 2), st.booleans()),
    st.builds(Resign, names, numbers),
    st.builds(Proclaim, names, numbers, keys),
    st.builds(Put, keys, keys, numbers, fences),
    st.builds(Delete, keys, fences),
    st.builds(CompareAndSwap, keys, st.none() | keys, st.none() | keys, numbers, fences),
    st.builds(DeleteRange, keys, st.none() | keys, fences),
    st.builds(lambda *parts: Transaction((), parts), st.builds(Put, keys, keys), st.builds(Delete, keys)),
    st.builds(Compact, numbers),
    st.builds(Own, keys),
)
calls = st.builds(Call, st.sampled_from([0, 0, 1, 2, 3]), st.integers(1, 6), st.integers(0, 3), operations)
QUESTIONS: list[Question] = [
    Get(b"a"),
    Range(b"", None),
    GetLease(1),
    GetElection("e"),
    WatchKeys(1, b"", None),
    WatchKeys(9, b"", None, 1),
    WatchElection(1, "e"),
    Own(b""),
]


def counting() -> Application:
    return Application(Counter())


def raw(call: Call) -> bytes:
    if isinstance(call.operation, Expire):
        call = Call(NODE, 0, 0, call.operation)
    return msgspec.msgpack.encode(call)


OPEN = [raw(Call(0, 0, 0, OpenSession(1_000)))] * 3


@settings(deadline=None)
@given(st.lists(calls.map(raw), max_size=15))
def test_replaying_a_log_from_any_snapshot_gives_the_same_state(log: list[bytes]) -> None:
    check_machine(counting, OPEN + log, [encode_question(question) for question in QUESTIONS])


def everything() -> list[bytes]:
    """A log that reaches all there is, with enough keys and names for the order of a set to show."""
    log: list[Operation] = [OpenSession(1_000), Grant(1_000), Grant(1_000)]
    for number in range(12):
        log.append(Put(b"key-%d" % number, b"", lease=2 + number % 2))
        log.append(Campaign(f"election-{number}", 2 + number % 2, seats=1 + number % 2))
        log.append(Campaign(f"election-{number}", 1, seats=1 + number % 2))
    log += [Expire((3, 2)), DeleteRange(b"", None), Resign("election-1", 9)]
    return [
        raw(Call(1 if number > 1 else 0, number, number - 1, operation))
        for number, operation in enumerate(log, 1)
    ]


@given(st.lists(calls.map(raw), max_size=15), st.booleans(), st.sampled_from([1, 128 * 1024]))
def test_snapshot_parts_hold_the_state_of_the_moment_of_the_call(
    log: list[bytes], own: bool, part_bytes: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine_state, "PART_BYTES", part_bytes)
        machine = counting() if own else Application()
        restored = counting() if own else Application()
        for index, command in enumerate([*OPEN, *everything(), *log], 1):
            machine.apply(index, command)
        expected, frozen = machine.snapshot(), machine.snapshot_parts()
        for index, command in enumerate(log, 1000):
            machine.apply(index, command)
        restored.restore_parts(frozen)
        assert restored.snapshot() == expected


def test_no_parts_are_the_empty_state() -> None:
    machine = Application()
    machine.apply(1, OPEN[0])
    machine.restore_parts([])
    assert machine.snapshot() == Application().snapshot()


def test_snapshot_parts_of_a_user_machine_need_that_machine() -> None:
    with pytest.raises(MachineError, match="needs that machine"):
        Application().restore_parts(counting().snapshot_parts())


def test_replicas_with_other_hash_seeds_have_the_same_state() -> None:
    check_under_hash_seeds("raft.machines.application:Application", everything(), hash_seeds=(0, 1))


def test_the_answer_checksum_differs_when_answers_differ() -> None:
    one, two = Driver(Counter()), Driver(Counter())
    one.do(Own(b"+"))
    two.do(Own(b"++"))
    assert one.application.own.answer_checksum.value != two.application.own.answer_checksum.value
    one.do(Own(b"++"))
    two.do(Own(b"+"))
    assert one.ask(Own(b"")) == two.ask(Own(b""))
    assert one.application.state_hash() != two.application.state_hash()
