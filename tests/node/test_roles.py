"""Roles of keys: what each may ask for, by itself and at a node."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.transport.curve import Entry, Grant, Keys, KeysError, generate, keys_with
from raft.client import Client, NotAllowed
from raft.client.calls.application import question_bytes
from raft.machines.codec import encode_call
from raft.machines.commands import (
    Call,
    Campaign,
    Compact,
    CompareAndSwap,
    CompareValue,
    DeleteRange,
    Downgrade,
    Get,
    GetElection,
    GetLease,
    ListLeases,
    Own,
    Put,
    Range,
    Relation,
    Revoke,
    Transaction,
    WatchKeys,
)
from raft.machines.commands import (
    Grant as GrantLease,
)
from raft.node.process.allowed_keys import KeyReader, ReadKeys
from raft.node.process.roles import Permissions, Role, check_roles, role_of, why_not
from raft.protocol.admin import GetMetrics, GetStatus, Transfer
from raft.protocol.client import (
    AddLearner,
    AwaitEvents,
    Command,
    KeepAlive,
    ListMembers,
    OpenWatch,
    Query,
    Remove,
    UpdateMember,
    WhoLeads,
)
from tests.processes.clusters import ROOT

BELOW = "app/"


def command(operation: Any) -> Command:
    return Command(encode_call(Call(0, 0, 0, operation)))


def query(question: Any) -> Query:
    return Query(question_bytes(question))


@pytest.mark.parametrize(
    "request_",
    [
        command(Put(b"app/k", b"v")),
        command(CompareAndSwap(b"app/k", None, b"v")),
        command(DeleteRange(b"app/", b"app0")),
        command(Transaction((CompareValue(b"app/a", Relation.EQUAL, None),), (Put(b"app/b", b""),))),
        command(Campaign("app/leader", 1)),
        command(GrantLease(1000)),
        command(Revoke(1)),
        query(Get(b"app/k")),
        query(Range(b"app/x", b"app/z")),
        query(GetElection("app/leader")),
        OpenWatch(1, question_bytes(WatchKeys(1, b"app/", b"app0"))),
        KeepAlive(1),
        WhoLeads(),
        ListMembers(),
        GetStatus(),
        GetMetrics(),
    ],
    ids=repr,
)
def test_a_client_may_do_what_stays_below_its_prefix(request_: Any) -> None:
    assert why_not(request_, Role.CLIENT, BELOW) == ""
    assert why_not(request_, Role.CLIENT, "") == ""


@pytest.mark.parametrize(
    "request_",
    [
        command(Put(b"ap", b"v")),
        command(DeleteRange(b"app/", None)),
        command(DeleteRange(b"app/", b"app0\x00")),
        command(DeleteRange(b"a", b"app0")),
        command(Transaction((CompareValue(b"secret", Relation.EQUAL, None),), ())),
        command(Transaction((), (), (Put(b"other", b""),))),
        command(Campaign("leader", 1)),
        command(Compact(3)),
        command(Own(b"")),
        query(Get(b"other")),
        query(Range(b"", None)),
        query(GetElection("leader")),
        query(GetLease(1)),
        query(ListLeases()),
        query(Own(b"")),
        OpenWatch(1, question_bytes(WatchKeys(1, b"", None))),
        AwaitEvents(question_bytes(WatchKeys(1, b"", None)), 1.0),
        Command(b"nonsense"),
        Query(b"nonsense"),
    ],
    ids=repr,
)
def test_a_client_that_is_bound_to_a_prefix_may_do_nothing_outside_it(request_: Any) -> None:
    assert BELOW in why_not(request_, Role.CLIENT, BELOW)
    assert why_not(request_, Role.CLIENT, "") == ""


@pytest.mark.parametrize(
    "request_",
    [AddLearner(4, "e"), Remove(1), UpdateMember(1, "e"), Transfer(0), command(Downgrade(1)), object()],
    ids=lambda request: type(request).__name__,
)
def test_neither_client_nor_reader_may_do_what_an_operator_does(request_: Any) -> None:
    assert why_not(request_, Role.CLIENT, "")
    assert why_not(request_, Role.READER, "")


@pytest.mark.parametrize("request_", [command(Put(b"k", b"v")), KeepAlive(1)], ids=repr)
def test_a_reader_may_only_read(request_: Any) -> None:
    assert why_not(request_, Role.READER, "") == "may only read: to write needs the role client"
    assert why_not(query(Get(b"k")), Role.READER, "") == ""
    assert why_not(query(Get(b"k")), Role.READER, BELOW)


def test_a_name_without_a_role_is_a_member_or_else_an_operator() -> None:
    assert role_of("n1", Grant()) is Role.MEMBER
    assert role_of("ann", Grant()) is Role.OPERATOR
    assert role_of("n1.launcher", Grant()) is Role.OPERATOR


@pytest.mark.parametrize(
    ("name", "grant", "why"),
    [
        ("ann", Grant("boss"), "no role 'boss'"),
        ("ann", Grant("member"), "no other process"),
        ("n1", Grant("client"), "no other process"),
        ("ann", Grant("operator", "app/"), "bound to a prefix"),
        ("n1", Grant("", "app/"), "bound to a prefix"),
    ],
)
def test_an_invalid_role_is_refused_with_the_reason(name: str, grant: Grant, why: str) -> None:
    keys = keys_with("n1", b"p", b"s", {"n1": Entry((b"p",), Grant()), name: Entry((b"q",), grant)})
    with pytest.raises(KeysError, match=why):
        check_roles(keys)


def test_members_and_operators_are_not_restricted_and_refusals_are_counted() -> None:
    said: list[tuple[str, str]] = []
    entries = {
        "n1": Entry((b"1",), Grant()),
        "ann": Entry((b"2",), Grant("operator")),
        "bob": Entry((b"3",), Grant("reader")),
    }
    permissions = Permissions(
        keys_with("n1", b"1", b"s", entries), lambda event, text: said.append((event, text))
    )
    assert [permissions[process] for process in ("n1", "n1.launcher", "ann", "ann.7f3")] == [None] * 4
    judge = permissions["bob.7f3"]
    assert judge is not None and judge(WhoLeads()) is None
    for _ in range(3):
        refusal = judge(command(Put(b"k", b"v")))
        assert refusal is not None and "the key of bob has the role reader" in refusal.reason
    assert permissions.refused == {"not allowed to bob": 3}
    assert len(said) == 1 and said[0][0] == "not-allowed" and "bob" in said[0][1]
    assert Permissions(permissions.known_keys, lambda *_: None, "launcher")["launcher"] is None
    assert permissions["launcher"] is not None, "only where it was started so"
    stranger = permissions["mallory"]
    assert stranger is not None and stranger(WhoLeads()) is not None
    permissions.follow(keys_with("n1", b"1", b"s", {**entries, "bob": Entry((b"3",), Grant("client"))}))
    judge = permissions["bob.7f3"]
    assert judge is not None and judge(command(Put(b"k", b"v"))) is None


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="rn") as name:
        yield Path(name)


@pytest.mark.processes
def test_a_node_gives_each_key_its_role(directory: Path) -> None:
    keys = directory / "keys"
    grants = {"ann": Grant("operator"), "bob": Grant("client", BELOW), "eve": Grant("reader")}
    generate(keys, ["n1", *grants], grants)
    here = {1: f"ipc://{directory}/n1"}
    options = [
        "--id",
        "1",
        "--listen",
        here[1],
        "--data-dir",
        f"{directory}/data",
        "--keys",
        f"{keys}/n1.toml",
    ]
    node = subprocess.Popen(
        [sys.executable, "-m", "raft.node", *options], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    try:
        ann, bob, eve = (Client(here, keys=keys / f"{name}.toml", timeout_seconds=20.0) for name in grants)
        with ann, bob, eve:
            ann.put("k", "v")
            bob.put("app/k", "v")
            with bob.lock("app/lock"), bob.semaphore("app/seats", 2), bob.election("app/leader"):
                assert eve.get("k") == b"v"
            with pytest.raises(NotAllowed, match="not the election 'leader'"), bob.election("leader"):
                pass
            with pytest.raises(NotAllowed, match="not the lock 'lock'"), bob.lock("lock"):
                pass
            assert eve.get("k") == b"v"
            for refused, who in (
                (lambda: bob.put("k", "w"), "bob has the role client"),
                (lambda: bob.update_member(1, f"ipc://{directory}/else"), "bob has the role client"),
                (lambda: eve.put("k", "w"), "eve has the role reader"),
                (lambda: eve.grant("5s"), "eve has the role reader"),
            ):
                with pytest.raises(NotAllowed, match=who):
                    refused()
            assert ann.get("k") == b"v"
            assert ann.update_member(1, f"ipc://{directory}/else").voters == (1,)
    finally:
        node.terminate()
        _, said = node.communicate(timeout=60)
    assert node.returncode == 0
    assert "not-allowed: Command refused: the key of eve has the role reader" in said


def test_a_list_with_a_role_that_cannot_be_is_not_taken_by_a_node_that_runs(directory: Path) -> None:
    said: list[str] = []
    allowed: list[Keys] = []

    class Door:
        def allow(self, keys: Keys) -> frozenset[str]:
            allowed.append(keys)
            return frozenset()

    (path, _) = generate(directory / "keys", ["n1", "bob"], {"bob": Grant("boss")})
    permissions = Permissions(None, lambda *_: None)
    reader = KeyReader(str(path), Door(), permissions, lambda event, text: said.append(f"{event} {text}"))
    reader.on_read(ReadKeys())
    assert allowed == []
    assert said == ["keys-refused the keys stay as they were: " + said[0].partition(": ")[2]]
    assert "no role 'boss'" in said[0]
