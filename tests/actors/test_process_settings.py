"""What a process is given, what of it can be set and seen from outside, and what a fork leaves alone."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from actors import Address, MailboxPolicy, ProcessSystem, RestartPolicy
from actors.errors import ActorsError, AskFailed
from tests.actors.friends import TAGS, Careless, Describe, Description, Friend, Limits, Strange

pytestmark = pytest.mark.processes
ELSEWHERE = Address("elsewhere", "main")


@pytest.fixture(scope="module")
def system() -> Iterator[ProcessSystem]:
    with ProcessSystem(TAGS) as system:
        yield system


def test_arguments_arrive_as_what_the_actor_declares(system: ProcessSystem) -> None:
    given = {"friend": ELSEWHERE, "limits": Limits(1, 2), "pair": (3, 4)}
    friend = system.spawn_process(Friend, "friend", arguments=given)
    assert system.ask(friend, Describe()).text == repr((ELSEWHERE, Limits(1, 2), (3, 4)))


def test_an_argument_that_would_arrive_as_something_else_is_refused(system: ProcessSystem) -> None:
    with pytest.raises(ActorsError, match=r"would arrive .* annotate the parameter"):
        system.spawn_process(Careless, "careless", arguments={"friend": ELSEWHERE})


def test_the_dead_letters_of_a_process_are_seen_from_outside(system: ProcessSystem) -> None:
    friend = system.spawn_process(Friend, "counted", arguments={"friend": ELSEWHERE})
    system.tell(friend, Strange())
    system.ask(friend, Describe())  # Behind it in the mailbox, so that it was handled.
    info = system.inspect_process("counted")
    assert info.dead_letters == {"no handler": 1}
    assert [(queued.to, queued.kind) for queued in info.recent_dead_letters] == [(friend, "Strange")]
    assert {actor.address.actor for actor in info.actors} >= {"main"}
    assert system.inspect_process("parent").process == "parent"


def test_mailbox_and_frames_of_a_process_are_set_from_outside(system: ProcessSystem) -> None:
    friend = system.spawn_process(
        Friend,
        "small",
        arguments={"friend": ELSEWHERE},
        mailbox=MailboxPolicy(messages_max=2),
        supervision=RestartPolicy(max_restarts=0),
        frame_bytes_max=2000,
    )
    system.wait_for("small")
    asks = [system.runtime.ask(friend, Describe(), 10.0) for _ in range(5)]
    assert system.run_until(lambda: all(pending.done for pending in asks))
    ends = []
    for pending in asks:
        try:
            ends.append(type(pending.result()))
        except AskFailed as failure:
            ends.append(type(failure))
    assert ends.count(Description) == 2
    assert system.inspect_process("small").dead_letters == {"mailbox full": 3}


def test_a_fork_that_leaves_the_block_harms_nothing() -> None:
    with ProcessSystem(TAGS) as system:
        friend = system.spawn_process(Friend, "friend", arguments={"friend": ELSEWHERE})
        system.ask(friend, Describe())
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                with pytest.raises(ActorsError, match="this is a fork"):
                    system.ask(friend, Describe())
                system.close()
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert system.directory.exists()
        assert system.ask(friend, Describe())
        assert system.runtime.peers == {"friend": 1}


def test_a_process_that_is_stopped_as_it_starts_ends_at_once(system: ProcessSystem) -> None:
    system.spawn_process(Friend, "short", arguments={"friend": ELSEWHERE})
    system.stop_process("short")
    assert system.run_until(lambda: "short" not in system.processes, 2.0)
