"""The test kit finds what would let replicas diverge; each machine here is wrong in one way."""

from __future__ import annotations

import itertools
import subprocess
import sys
from typing import Any, ClassVar

import pytest

from raft.lab.simulation.determinism import check_machine as check_under_hash_seeds
from raft.machines.machine import MachineError
from raft.machines.testkit import NotDeterministic, check_machine, check_upgrade
from raft.machines.typed import body_of
from tests.machines.banks import Bank, Close, Deposit, OldBank, OldDeposit
from tests.machines.test_sessions import Counter

LOG = [b"a", b"bb", b"a", b"ccc", b"a"]


class Words:
    """A set of words; right as long as it is asked for in order."""

    def __init__(self) -> None:
        self.words: set[str] = set()

    def apply(self, index: int, command: bytes) -> bytes:
        self.words.add(command.decode())
        return b"%d" % len(self.words)

    def query(self, query: bytes) -> bytes:
        return b"%d" % len(self.words)

    def snapshot(self) -> bytes:
        return ",".join(sorted(self.words)).encode()

    def restore(self, data: bytes) -> None:
        self.words = set(data.decode().split(",")) if data else set()


class Unordered(Words):
    def snapshot(self) -> bytes:
        return ",".join(self.words).encode()


class Forgetful(Counter):
    """Has state beside what its snapshot holds."""

    def __init__(self) -> None:
        super().__init__()
        self.applied = 0

    def apply(self, index: int, command: bytes) -> bytes:
        self.applied += 1
        return super().apply(index, command if self.applied < 3 else command * 2)


class Moody(Counter):
    """Differs from one instance to the next."""

    instances: ClassVar = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self.mood = next(self.instances)

    def apply(self, index: int, command: bytes) -> bytes:
        return super().apply(index, command) + b"!" * (self.mood % 2)


WORDS = itertools.count()


class Refusing(Counter):
    """Raises in other words each time."""

    def apply(self, index: int, command: bytes) -> bytes:
        raise MachineError(f"no: {next(WORDS)}")


class Nosy(Counter):
    """Changes by being asked."""

    def query(self, query: bytes) -> bytes:
        self.count += 1
        return b""


class Indexed(Counter):
    """Right: what it does depends on the index, which is the same everywhere."""

    def apply(self, index: int, command: bytes) -> bytes:
        return super().apply(index, command * index)


class Sticky(Counter):
    """Is not emptied by an empty snapshot."""

    def restore(self, data: bytes) -> None:
        self.count = int(data or b"7")


@pytest.mark.parametrize("machine", [Counter, Words, Indexed])
def test_a_machine_that_is_right_passes(machine: type[Counter]) -> None:
    check_machine(machine, LOG, [b""])


def test_hidden_state_is_detected_when_a_snapshot_is_restored() -> None:
    with pytest.raises(NotDeterministic, match="restored from the snapshot after command"):
        check_machine(Forgetful, LOG)


@pytest.mark.parametrize("machine", [Moody, Refusing])
def test_a_machine_that_differs_from_itself_is_found(machine: type[Counter]) -> None:
    with pytest.raises(NotDeterministic, match="command 1 is answered"):
        check_machine(machine, LOG)


def test_a_query_that_changes_the_state_is_found() -> None:
    with pytest.raises(NotDeterministic, match="changes the state"):
        check_machine(Nosy, LOG, [b""])


def test_the_empty_snapshot_must_empty() -> None:
    with pytest.raises(NotDeterministic, match="empty state"):
        check_machine(Sticky, LOG)


def test_the_order_of_a_set_shows_under_another_hash_seed() -> None:
    log = [b"%d" % number for number in range(20)]
    with pytest.raises(NotDeterministic):
        check_under_hash_seeds("tests.machines.test_testkit:Unordered", log, hash_seeds=(0, 1))
    check_under_hash_seeds("tests.machines.test_testkit:Words", log, hash_seeds=(1,))


def test_a_machine_that_can_not_be_imported_elsewhere_is_an_error() -> None:
    with pytest.raises((subprocess.CalledProcessError, ModuleNotFoundError)):
        check_under_hash_seeds("no.such.module:Machine", LOG)
    assert "no.such.module" not in sys.modules


def test_two_versions_that_work_side_by_side_pass_and_a_change_that_comes_too_early_is_found() -> None:
    log = [body_of(OldDeposit("alice", cents)) for cents in (500, -600, -200)]
    check_upgrade(OldBank, Bank, log)

    class Early(Bank):
        def carry_out(self, command: Deposit | Close) -> Any:
            self.cluster_version = 2
            return super().carry_out(command)

    with pytest.raises(NotDeterministic, match=r"command 2 is answered MachineError: alice has not so much"):
        check_upgrade(OldBank, Early, [*log[:1], body_of(OldDeposit("alice", -550))])

    class Rounding(Bank):
        def carry_out(self, command: Deposit | Close) -> Any:
            answer = super().carry_out(command)
            self.state.balances["alice"] //= 10
            return answer

    with pytest.raises(NotDeterministic, match="after command 1, version 1 and the other have different"):
        check_upgrade(OldBank, Rounding, log)

    class Renamed(Bank):
        def snapshot(self) -> bytes:
            return b"v2" + super().snapshot()

    with pytest.raises(NotDeterministic, match="after command 1, version 1 cannot read that snapshot"):
        check_upgrade(OldBank, Renamed, log)
