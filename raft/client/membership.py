"""Changing who belongs to a cluster, step by step and without doing anything: see conversation.

Owns what is repeated and what is not. Every change may be asked for again, as asking for what is so
already changes nothing; unless it is to be made to one expected configuration only.
"""

from __future__ import annotations

from collections.abc import Generator

from actors.errors import AskFailed, Undeliverable
from raft.client.conversation import (
    Ask,
    Attempts,
    Book,
    Outcome,
    Step,
    ask,
    explained,
    relayed,
    rest,
    take_refusal,
)
from raft.client.errors import CommandRefused, OutcomeUnknown, Rejected
from raft.requests import (
    AddLearner,
    ListMembers,
    MemberChange,
    Members,
    Promote,
    Refused,
    Remove,
    Replace,
    Unknown,
    UpdateMember,
)

Steps = Generator[Step, Outcome, Members]


def members(book: Book, attempts: Attempts) -> Steps:
    """Ask the leader who belongs to the cluster."""
    while True:
        node = book.choose(attempts.begin(), attempts.now())
        answer = yield from ask(book, node, ListMembers(), attempts)
        if isinstance(answer, Members):
            return learnt(book, node, answer)
        if not take_refusal(book, node, answer, attempts):
            yield from rest(book, attempts)


def change(book: Book, request: MemberChange, attempts: Attempts) -> Steps:
    """Have a change applied. What has to wait, as for a learner that catches up, is asked for again.

    Once a try has ended unknown, only a `Members` settles it: a later refusal says nothing of that try.
    """
    doubt = ""
    try:
        while True:
            node = book.choose(attempts.begin(), attempts.now())
            outcome = yield Ask(node, request, attempts.left_seconds)
            outcome = yield from explained(book, node, outcome, attempts)
            answer = yield from relayed(book, node, request, outcome, attempts)
            if isinstance(answer, Members):
                return learnt(book, node, answer)
            if isinstance(answer, Unknown) or (
                isinstance(answer, AskFailed) and not isinstance(answer, Undeliverable)
            ):
                doubt = f"node {node} may or may not have made the change: {reason_of(answer)}"
                if request.expected is not None:
                    raise OutcomeUnknown(doubt)
            if isinstance(answer, Refused):
                attempts.note(Rejected, answer.reason)
            elif take_refusal(book, node, answer, attempts):
                continue
            yield from rest(book, attempts)
    except (Rejected, CommandRefused) as error:
        if not doubt:
            raise
        raise OutcomeUnknown(f"{doubt}; then: {error}") from error


def add(book: Book, node: int, endpoint: str, attempts: Attempts, *, learner: bool) -> Steps:
    """Add a learner, and give it a vote once it has caught up, unless it is to stay one."""
    added = yield from change(book, AddLearner(node, endpoint), attempts)
    return added if learner else (yield from change(book, Promote(node), attempts))


def replace(book: Book, old: int, new: int, endpoint: str, attempts: Attempts) -> Steps:
    """Add a learner, and give it the place of a member once it has caught up."""
    yield from change(book, AddLearner(new, endpoint), attempts)
    return (yield from change(book, Replace(old, new), attempts))


def promote(book: Book, node: int, attempts: Attempts) -> Steps:
    """Give a learner a vote once it has caught up."""
    return change(book, Promote(node), attempts)


def remove(book: Book, node: int, attempts: Attempts) -> Steps:
    """Let a member be one no longer."""
    return change(book, Remove(node), attempts)


def update(book: Book, node: int, endpoint: str, attempts: Attempts) -> Steps:
    """Let all know where a member listens now, or will when it is started again."""
    return change(book, UpdateMember(node, endpoint), attempts)


def learnt(book: Book, node: int, answer: Members) -> Members:
    """Note where the members are; the one that has answered led until then."""
    book.members_are(answer.endpoints)
    book.leader = node if node in answer.endpoints else 0
    return answer


def reason_of(answer: Unknown | AskFailed) -> str:
    """Why nobody knows what became of a request."""
    return answer.reason if isinstance(answer, Unknown) else str(answer)
