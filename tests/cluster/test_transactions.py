"""Conditions and operations of `txn` as they are typed."""

from __future__ import annotations

import pytest

from raft.cli.app import Session, run_verb
from raft.cli.verbs.data.transactions import compare, part
from raft.cluster.failures import BadUsage, ExitCode
from raft.machines.commands import (
    CompareNumber,
    CompareValue,
    Delete,
    DeleteRange,
    Field,
    Get,
    Put,
    Relation,
)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("k=v", CompareValue(b"k", Relation.EQUAL, b"v")),
        ("k=", CompareValue(b"k", Relation.EQUAL, b"")),
        ("k=a=b", CompareValue(b"k", Relation.EQUAL, b"a=b")),
        ("k!=v", CompareValue(b"k", Relation.NOT_EQUAL, b"v")),
        ("k<v", CompareValue(b"k", Relation.LESS, b"v")),
        ("a key>a value", CompareValue(b"a key", Relation.GREATER, b"a value")),
        ("version(k)=0", CompareNumber(b"k", Field.VERSION, Relation.EQUAL, 0)),
        ("lease(k)!=7", CompareNumber(b"k", Field.LEASE, Relation.NOT_EQUAL, 7)),
        ("revision(k)>9", CompareNumber(b"k", Field.REVISION, Relation.GREATER, 9)),
        ("created(k)<9", CompareNumber(b"k", Field.CREATED, Relation.LESS, 9)),
    ],
)
def test_a_condition_means_what_is_written(text: str, meant: object) -> None:
    assert compare(text) == meant


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("put k v", Put(b"k", b"v")),
        ("put k 'two words'", Put(b"k", b"two words")),
        ("get k", Get(b"k")),
        ("del k", Delete(b"k")),
        ("del --prefix k", DeleteRange(b"k", b"l")),
    ],
)
def test_an_operation_means_what_is_written(text: str, meant: object) -> None:
    assert part(text) == meant


@pytest.mark.parametrize("text", ["", "k", "=v", "version(k)", "version(k)=x", "versoin(k)=0"])
def test_what_compares_nothing_is_no_condition(text: str) -> None:
    with pytest.raises(BadUsage, match="KEY=VALUE"):
        compare(text)


@pytest.mark.parametrize("text", ["", "put k", "put k v w", "get", "steal k", "put k 'v", "del --prefix"])
def test_an_operation_with_something_missing_is_refused_with_what_there_is(text: str) -> None:
    with pytest.raises(BadUsage, match=r"put KEY VALUE|write |quotation"):
        part(text)


def test_a_transaction_that_does_nothing_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb(["txn", "--if", "k=v"], Session()) == ExitCode.USAGE
    assert "--then 'put KEY VALUE'" in capsys.readouterr().err
