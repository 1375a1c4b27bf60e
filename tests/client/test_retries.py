"""Trying again: what is, what is not, and how long is waited in between."""

from __future__ import annotations

import asyncio

import pytest

from raft.client import AsyncClient, Client, NoLeader, OutcomeUnknown, retry, retry_async
from raft.client.errors import ClientError, CommandRefused
from raft.client.retries import Backoff

QUICK = 0.001


class Work:
    """Fails once, then is done."""

    def __init__(self, error: ClientError) -> None:
        self.error = error
        self.tried = 0

    def __call__(self) -> str:
        self.tried += 1
        if self.tried == 1:
            raise self.error
        return "done"

    async def in_a_loop(self) -> str:
        return self()


@pytest.mark.parametrize(
    ("error", "repeatable", "tries"),
    [
        (NoLeader("later"), False, 2),
        (OutcomeUnknown("lost"), True, 2),
        (OutcomeUnknown("lost"), False, 1),
        (CommandRefused("no"), True, 1),
    ],
)
def test_what_is_in_no_log_is_tried_again_and_what_may_be_only_if_it_is_repeatable(
    error: ClientError, repeatable: bool, tries: int
) -> None:
    blocking, waiting, backoff = Work(error), Work(error), Backoff(QUICK)
    for work, run in (
        (blocking, lambda: retry(blocking, repeatable=repeatable, backoff=backoff)),
        (
            waiting,
            lambda: asyncio.run(retry_async(waiting.in_a_loop, repeatable=repeatable, backoff=backoff)),
        ),
    ):
        if tries == 2:
            assert run() == "done"
        else:
            with pytest.raises(type(error)):
                run()
        assert work.tried == tries


def test_when_the_time_is_up_the_last_error_is_raised() -> None:
    def work() -> None:
        raise NoLeader("never")

    with pytest.raises(NoLeader):
        retry(work, within=0.01, backoff=Backoff(QUICK))


def test_waits_grow_up_to_the_longest_and_begin_anew_when_something_went_well() -> None:
    backoff = Backoff("100ms", "1s")
    for seconds in (0.1, 0.2, 0.4, 0.8, 1.0, 1.0):
        assert seconds / 2 <= backoff.next_seconds() <= seconds
    backoff.reset()
    assert backoff.next_seconds() <= 0.1


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan"), float("inf"), "5", True])
def test_a_time_out_in_which_nothing_can_be_done_is_refused_when_the_client_is_made(seconds: float) -> None:
    async def make() -> None:
        AsyncClient({1: "ipc:///tmp/no-node"}, timeout_seconds=seconds)

    with pytest.raises((ValueError, TypeError), match="timeout_seconds"):
        Client({1: "ipc:///tmp/no-node"}, timeout_seconds=seconds)
    with pytest.raises((ValueError, TypeError), match="timeout_seconds"):
        asyncio.run(make())


def test_keys_values_and_commands_of_other_types_are_told_apart_before_anything_is_sent() -> None:
    with Client({1: "ipc:///tmp/no-node"}) as client:
        for use in (
            lambda: client.put("k", 5),  # type: ignore[call-overload]
            lambda: client.put(None, "v"),  # type: ignore[call-overload]
            lambda: client.cas("k", 1, 2),  # type: ignore[arg-type]
            lambda: client.get(7),  # type: ignore[arg-type]
        ):
            with pytest.raises(TypeError, match="keys and values are str or bytes, not"):
                use()
        with pytest.raises(TypeError, match="execute"):
            client.command("text")  # type: ignore[arg-type]
