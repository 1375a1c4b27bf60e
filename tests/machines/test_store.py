"""The store: what each command does, what it refuses, and all of it against a plain dictionary."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft.machines.codec import encode_call, encode_question
from raft.machines.commands import (
    ANSWER_BYTES_MAX,
    COMMAND_BYTES_MAX,
    ELECTION_BYTES_MAX,
    KEY_BYTES_MAX,
    TRANSACTION_PARTS_MAX,
    VALUE_BYTES_MAX,
    Call,
    Campaign,
    CompareAndSwap,
    CompareNumber,
    CompareValue,
    Delete,
    DeleteRange,
    Fence,
    Field,
    Get,
    Operation,
    Own,
    Put,
    Range,
    Relation,
    Transaction,
    WatchKeys,
)
from raft.machines.keys import prefix_end
from raft.machines.machine import MachineError
from raft.machines.results import (
    Deleted,
    FenceRejected,
    Item,
    Items,
    LeaseGone,
    Refused,
    Removed,
    Stored,
    Swapped,
    TransactionDone,
    Value,
)
from tests.machines.driving import Driver


def test_an_item_has_its_revisions_and_its_version() -> None:
    driver = Driver()
    assert driver.do(Put(b"k", b"v")) == Stored(1)
    driver.do(Put(b"other", b""))
    assert driver.do(Put(b"k", b"w")) == Stored(3)
    assert driver.ask(Get(b"k")) == Value(Item(b"k", b"w", 3, 1, 2, 0), 3)
    assert driver.do(Delete(b"k")) == Deleted(1)
    assert driver.do(Delete(b"k")) == Deleted(0)
    assert driver.ask(Get(b"k")) == Value(None, 4)
    driver.do(Put(b"k", b"x"))
    assert driver.ask(Get(b"k")).item == Item(b"k", b"x", 6, 6, 1, 0)


def test_a_swap_needs_the_old_value_and_returns_the_present_one() -> None:
    driver = Driver()
    assert driver.do(CompareAndSwap(b"k", b"x", b"1")) == Swapped(False, None)
    one = driver.do(CompareAndSwap(b"k", None, b"1"))
    assert one == Swapped(True, Item(b"k", b"1", 2, 2, 1, 0))
    assert driver.do(CompareAndSwap(b"k", None, b"2")) == Swapped(False, one.item)
    assert driver.do(CompareAndSwap(b"k", b"1", None)) == Swapped(True, None)
    assert driver.do(CompareAndSwap(b"k", None, None)) == Swapped(True, None)
    assert driver.do(CompareAndSwap(b"k", None, b"", lease=9)) == LeaseGone(9)


def test_ranges_and_prefixes_come_in_order_and_in_pages() -> None:
    driver = Driver()
    for key in (b"b/2", b"a", b"b/1", b"c", b"b/3"):
        driver.do(Put(key, key))
    page = driver.ask(Range(b"b/", prefix_end(b"b/"), 2))
    assert ([item.key for item in page.items], page.more, page.revision) == ([b"b/1", b"b/2"], True, 5)
    page = driver.ask(Range(page.items[-1].key + b"\0", prefix_end(b"b/"), 2))
    assert ([item.key for item in page.items], page.more) == ([b"b/3"], False)
    assert driver.ask(Range(b"d", None)) == Items((), False, 5)


def test_an_answer_holds_a_bounded_number_of_bytes_and_says_that_there_is_more() -> None:
    driver = Driver()
    for number in range(6):
        driver.do(Put(b"%d" % number, b"v" * VALUE_BYTES_MAX))
    page = driver.ask(Range(b"", None))
    assert page.more and len(page.items) == ANSWER_BYTES_MAX // VALUE_BYTES_MAX
    told = driver.ask(WatchKeys(1, b"", None))
    assert len(told.events) == ANSWER_BYTES_MAX // VALUE_BYTES_MAX and told.next == len(told.events) + 1


def test_a_transaction_reads_no_more_than_an_answer_can_hold() -> None:
    driver = Driver()
    most = ANSWER_BYTES_MAX // VALUE_BYTES_MAX
    large = Put(b"k", b"v" * VALUE_BYTES_MAX)
    assert isinstance(driver.do(Transaction((), (large, *[Get(b"k")] * (most + 1)))), Refused)
    assert driver.ask(Get(b"k")).item is None
    assert driver.do(Transaction((), (large, *[Get(b"k")] * most))).succeeded
    assert isinstance(driver.do(Transaction((), (Get(b"k"),) * (most + 1))), Refused)


def test_a_range_is_deleted_as_one_revision() -> None:
    driver = Driver()
    for key in (b"a", b"b", b"c"):
        driver.do(Put(key, b""))
    assert driver.do(DeleteRange(b"a", b"c")) == Deleted(2)
    assert driver.ask(WatchKeys(4, b"", None)).events == (Removed(b"a", 4), Removed(b"b", 4))
    assert driver.do(DeleteRange(b"c", b"a")) == Deleted(0)
    assert driver.do(DeleteRange(b"", None)) == Deleted(1)


def test_a_transaction_does_one_branch_or_the_other() -> None:
    driver = Driver()
    driver.do(Put(b"k", b"1"))
    same = CompareValue(b"k", Relation.EQUAL, b"1")
    swap = Transaction((same,), (Put(b"k", b"2"), Get(b"k")), (Get(b"k"), Delete(b"nothing")))
    item = Item(b"k", b"2", 2, 1, 2, 0)
    assert driver.do(swap) == TransactionDone(True, (Stored(2), Value(item, 2)), 2)
    assert driver.do(swap) == TransactionDone(False, (Value(item, 2), Deleted(0)), 2)
    assert driver.do(Transaction((), (DeleteRange(b"", None),))).answers == (Deleted(1),)


def test_a_transaction_with_one_impossible_part_does_nothing_at_all() -> None:
    driver = Driver()
    assert driver.do(Transaction((), (Put(b"a", b""), Put(b"b", b"", lease=9)))) == LeaseGone(9)
    stale = Put(b"b", b"", fence=Fence("e", 3))
    assert driver.do(Transaction((), (Put(b"a", b""), stale))) == FenceRejected("e", 3, 0)
    assert driver.do(Transaction((), (Put(b"a", b""),), (stale,))).succeeded
    assert driver.ask(Range(b"", None)).items == (Item(b"a", b"", 3, 3, 1, 0),)


@pytest.mark.parametrize("kind", [Delete, CompareAndSwap, DeleteRange, Transaction])
def test_every_write_is_refused_with_a_stale_fence(kind: type) -> None:
    driver = Driver()
    driver.do(Put(b"k", b"v"))
    stale = Fence("e", 1)
    write: dict[type, Operation] = {
        Delete: Delete(b"k", stale),
        CompareAndSwap: CompareAndSwap(b"k", b"v", b"w", fence=stale),
        DeleteRange: DeleteRange(b"", None, stale),
        Transaction: Transaction((), (Delete(b"k"),), fence=stale),
    }
    assert driver.do(write[kind]) == FenceRejected("e", 1, 0)
    assert driver.ask(Get(b"k")).item.value == b"v"


RELATIONS = {
    Relation.EQUAL: lambda left, right: left == right,
    Relation.NOT_EQUAL: lambda left, right: left != right,
    Relation.LESS: lambda left, right: None not in (left, right) and left < right,
    Relation.GREATER: lambda left, right: None not in (left, right) and left > right,
}


@pytest.mark.parametrize("relation", Relation)
@pytest.mark.parametrize("right", [None, b"", b"1", b"2"])
@pytest.mark.parametrize("left", [None, b"", b"1", b"2"])
def test_values_compare(relation: Relation, left: bytes | None, right: bytes | None) -> None:
    driver = Driver()
    if left is not None:
        driver.do(Put(b"k", left))
    done = driver.do(Transaction((CompareValue(b"k", relation, right),), ()))
    assert done.succeeded == RELATIONS[relation](left, right)


@pytest.mark.parametrize("relation", Relation)
@pytest.mark.parametrize(
    ("field", "number"), [(Field.VERSION, 2), (Field.CREATED, 2), (Field.REVISION, 3), (Field.LEASE, 1)]
)
def test_numbers_compare(relation: Relation, field: Field, number: int) -> None:
    driver = Driver()
    lease = driver.lease()
    driver.do(Put(b"k", b"", lease))
    driver.do(Put(b"k", b"", lease))
    for key, held in ((b"k", number), (b"none", 0)):
        for right in (held - 1, held, held + 1):
            done = driver.do(Transaction((CompareNumber(key, field, relation, right),), ()))
            assert done.succeeded == RELATIONS[relation](held, right)


LONG_KEY, LONG_VALUE = b"k" * (KEY_BYTES_MAX + 1), b"v" * (VALUE_BYTES_MAX + 1)
TOO_MUCH = [
    Put(LONG_KEY, b""),
    Put(b"", LONG_VALUE),
    Put(b"", b"", fence=Fence("e" * (ELECTION_BYTES_MAX + 1), 1)),
    Delete(LONG_KEY),
    CompareAndSwap(LONG_KEY, None, None),
    CompareAndSwap(b"", LONG_VALUE, None),
    CompareAndSwap(b"", None, LONG_VALUE),
    DeleteRange(LONG_KEY, None),
    DeleteRange(b"", LONG_KEY),
    Transaction((), (Put(b"", LONG_VALUE),)),
    Transaction((), (), (Get(LONG_KEY),)),
    Transaction((CompareValue(b"", Relation.EQUAL, LONG_VALUE),), ()),
    Transaction((CompareNumber(LONG_KEY, Field.LEASE, Relation.EQUAL, 0),), ()),
    Transaction((), (Get(b""),) * (TRANSACTION_PARTS_MAX + 1)),
    Transaction((), (), fence=Fence("e" * (ELECTION_BYTES_MAX + 1), 1)),
    Campaign("", 1),
    Campaign("é" * (ELECTION_BYTES_MAX // 2 + 1), 1),
    Campaign("e", 1, LONG_VALUE),
    Campaign("e", 1, seats=0),
    Own(b"x" * COMMAND_BYTES_MAX),
]


@pytest.mark.parametrize("operation", TOO_MUCH, ids=lambda it: type(it).__name__)
def test_the_limits_hold_for_the_sender_and_for_the_machine(operation: Operation) -> None:
    with pytest.raises(MachineError):
        encode_call(Call(0, 0, 0, operation))
    driver = Driver()
    before = driver.application.snapshot()
    driver.application.answer_checksum.value = 0
    assert isinstance(driver.apply(msgspec.msgpack.encode(Call(0, 0, 0, operation))), Refused)
    driver.application.answer_checksum.value = 0
    assert driver.application.snapshot() == before


def test_keys_and_values_of_any_bytes_go_up_to_the_limits() -> None:
    driver = Driver()
    key, value = bytes(range(256)) * 16, b"\xff" * VALUE_BYTES_MAX
    assert len(key) == KEY_BYTES_MAX
    assert driver.do(Put(key, value)) == Stored(1)
    assert driver.do(Put(b"", b"")) == Stored(2)
    assert driver.ask(Get(key)).item.value == value


def test_what_msgpack_can_not_carry_is_refused_before_it_is_sent() -> None:
    with pytest.raises(MachineError):
        encode_question(Get(b"k" * (KEY_BYTES_MAX + 1)))
    with pytest.raises(MachineError):
        encode_call(Call(0, 0, 0, Put(b"k", b"", lease=2**70)))
    with pytest.raises(MachineError):
        encode_call(Call(0, 0, 0, Campaign("\ud800", 1)))


# -- against a dictionary ------------------------------------------------------------------------

keys = st.sampled_from([b"", b"a", b"ab", b"b", b"\xff"])
values = st.sampled_from([b"", b"1", b"2"])
ends = st.none() | keys
parts = st.one_of(
    st.builds(Put, keys, values),
    st.builds(Delete, keys),
    st.builds(DeleteRange, keys, ends),
    st.builds(Get, keys),
)
compares = st.builds(CompareValue, keys, st.just(Relation.EQUAL), st.none() | values)
commands = st.one_of(
    st.builds(Put, keys, values),
    st.builds(Delete, keys),
    st.builds(DeleteRange, keys, ends),
    st.builds(CompareAndSwap, keys, st.none() | values, st.none() | values),
    st.builds(
        Transaction,
        st.lists(compares, max_size=2).map(tuple),
        st.lists(parts, max_size=3).map(tuple),
        st.lists(parts, max_size=3).map(tuple),
    ),
)


@given(st.lists(commands, max_size=30), keys, ends)
def test_without_revisions_the_store_behaves_as_a_dictionary(
    log: list[Operation], start: bytes, end: bytes | None
) -> None:
    driver, model = Driver(), dict[bytes, bytes]()
    for command in log:
        answer = driver.do(command)
        _check_answer(answer, _do(model, command))
    found = driver.ask(Range(start, end)).items
    expected = sorted(
        (key, value) for key, value in model.items() if key >= start and (end is None or key < end)
    )
    assert [(item.key, item.value) for item in found] == expected


def _do(model: dict[bytes, bytes], command: Any) -> Any:
    if isinstance(command, Put):
        model[command.key] = command.value
        return None
    if isinstance(command, Get):
        return model.get(command.key)
    if isinstance(command, Delete):
        return int(model.pop(command.key, None) is not None)
    if isinstance(command, DeleteRange):
        gone = [k for k in model if k >= command.start and (command.end is None or k < command.end)]
        for key in gone:
            del model[key]
        return len(gone)
    if isinstance(command, CompareAndSwap):
        swapped = model.get(command.key) == command.old
        if swapped and command.new is None:
            model.pop(command.key, None)
        elif swapped and command.new is not None:
            model[command.key] = command.new
        return swapped
    succeeded = all(model.get(compare.key) == compare.value for compare in command.compares)
    return succeeded, [_do(model, part) for part in (command.then if succeeded else command.otherwise)]


def _check_answer(answer: Any, expected: Any) -> None:
    if isinstance(answer, Deleted):
        assert answer.count == expected
    elif isinstance(answer, Swapped):
        assert answer.swapped == expected
    elif isinstance(answer, Value):
        assert (answer.item.value if answer.item else None) == expected
    elif isinstance(answer, TransactionDone):
        assert answer.succeeded == expected[0]
        for part, wanted in zip(answer.answers, expected[1], strict=True):
            _check_answer(part, wanted)
    else:
        assert isinstance(answer, Stored)
