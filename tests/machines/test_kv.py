"""The key-value machine: what each command does, what it refuses, and that a snapshot is the state."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft.machines.kv import (
    KEY_BYTES_MAX,
    VALUE_BYTES_MAX,
    CompareAndSwap,
    Delete,
    Deleted,
    Get,
    KeyValue,
    KvCommand,
    KvQuery,
    KvResult,
    Put,
    Stored,
    Swapped,
    Value,
    decode_result,
    encode_request,
)
from raft.machines.machine import MachineError, StateMachine


def do(machine: KeyValue, request: KvCommand | KvQuery) -> KvResult:
    raw = encode_request(request)
    return decode_result(machine.query(raw) if isinstance(request, Get) else machine.apply(1, raw))


def test_it_is_a_state_machine() -> None:
    assert isinstance(KeyValue(), StateMachine)


def test_a_put_value_is_read_back_until_it_is_deleted() -> None:
    machine = KeyValue()
    assert do(machine, Get(b"k")) == Value(None)
    assert do(machine, Put(b"k", b"v")) == Stored()
    assert do(machine, Get(b"k")) == Value(b"v")
    assert do(machine, Delete(b"k")) == Deleted(True)
    assert do(machine, Delete(b"k")) == Deleted(False)
    assert do(machine, Get(b"k")) == Value(None)


def test_an_empty_value_is_a_value() -> None:
    machine = KeyValue()
    do(machine, Put(b"k", b""))
    assert do(machine, Get(b"k")) == Value(b"")
    assert do(machine, Delete(b"k")) == Deleted(True)


def test_a_swap_needs_the_old_value_and_says_what_is_there() -> None:
    machine = KeyValue()
    assert do(machine, CompareAndSwap(b"k", b"x", b"1")) == Swapped(False, None)
    assert do(machine, CompareAndSwap(b"k", None, b"1")) == Swapped(True, b"1")
    assert do(machine, CompareAndSwap(b"k", None, b"2")) == Swapped(False, b"1")
    assert do(machine, CompareAndSwap(b"k", b"1", b"2")) == Swapped(True, b"2")
    assert do(machine, CompareAndSwap(b"k", b"2", None)) == Swapped(True, None)
    assert do(machine, Get(b"k")) == Value(None)


def test_the_limits_hold_for_the_sender_and_for_the_machine() -> None:
    do(KeyValue(), Put(b"k" * KEY_BYTES_MAX, b"v" * VALUE_BYTES_MAX))
    for request in (
        Put(b"k" * (KEY_BYTES_MAX + 1), b""),
        Put(b"k", b"v" * (VALUE_BYTES_MAX + 1)),
        CompareAndSwap(b"k", None, b"v" * (VALUE_BYTES_MAX + 1)),
        Delete(b"k" * (KEY_BYTES_MAX + 1)),
    ):
        with pytest.raises(MachineError, match="more than"):
            encode_request(request)
    import msgspec

    machine = KeyValue()
    with pytest.raises(MachineError, match="more than"):
        machine.apply(1, msgspec.msgpack.encode(Put(b"k", b"v" * (VALUE_BYTES_MAX + 1))))
    assert machine.snapshot() == KeyValue().snapshot()


@given(st.binary(max_size=64))
def test_garbage_is_refused_and_changes_nothing(raw: bytes) -> None:
    machine = KeyValue()
    before = machine.snapshot()
    try:
        machine.apply(1, raw)
    except MachineError:
        assert machine.snapshot() == before
    try:
        machine.query(raw)
    except MachineError:
        pass
    else:
        assert raw[:1] == b"\x92"


keys = st.sampled_from([b"", b"a", b"b"])
values = st.sampled_from([b"", b"1", b"2"])
maybe = st.none() | values
commands = st.one_of(
    st.builds(Put, keys, values), st.builds(Delete, keys), st.builds(CompareAndSwap, keys, maybe, maybe)
)


@given(st.lists(commands, max_size=30), st.integers(0, 30))
def test_a_machine_restored_midway_ends_with_the_same_bytes(log: list[KvCommand], cut: int) -> None:
    whole, resumed = KeyValue(), KeyValue()
    half = KeyValue()
    for command in log[:cut]:
        half.apply(1, encode_request(command))
    resumed.apply(1, encode_request(Put(b"stale", b"")))
    resumed.restore(half.snapshot())
    for command in log:
        whole.apply(1, encode_request(command))
    for command in log[cut:]:
        resumed.apply(1, encode_request(command))
    assert whole.snapshot() == resumed.snapshot()


def test_restoring_nothing_is_the_empty_state() -> None:
    machine = KeyValue()
    do(machine, Put(b"k", b"v"))
    machine.restore(b"")
    assert machine.snapshot() == KeyValue().snapshot()
