"""The guards that a cluster's guarantees rest on, each with a way to remove it.

Owns the sabotages. Each replaces a function of the production code in memory, and returns the old one;
nothing in the production code knows of it. Knows nothing of how a sabotage is detected.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import SimpleNamespace
from typing import Any

from msgspec import structs

from raft.core import candidate, elections, follower, membership, reads, replication, tracker
from raft.core.log import Log
from raft.core.messages import AppendReply, InstallSnapshot, RequestVote, StorageAppendReply, VoteReply
from raft.core.progress import Progress
from raft.core.quorum import VoteResult
from raft.core.raft import Raft
from raft.core.state import RaftState
from raft.core.types import NO_NODE, ConfState, Index, Role, Snapshot, Term
from raft.lab.simulation.hosts.member import Member
from raft.lab.simulation.lease_guards import LEASE_SABOTAGES
from raft.lab.simulation.patches import Patch, Sabotage, replaced
from raft.machines.codec import decode_call, encode_answer
from raft.machines.commands import Put
from raft.machines.elections import Elections
from raft.machines.lease_clock import LeaseClock
from raft.machines.results import Stored
from raft.machines.sessions import Sessions
from raft.node.log_writer import LogWriter
from raft.node.members import handshakes
from raft.node.members.handshakes import Handshakes
from raft.node.requests import proposals
from raft.node.requests.commands import ClientRequests
from raft.node.requests.membership import MemberRequests
from raft.node.snapshots import taker
from raft.node.snapshots.sender import Transfers
from raft.protocol.client import Committed
from raft.storage import batch, recovery, wal
from raft.storage.device import Device
from raft.storage.segment import Segment
from raft.storage.snapshots import sealed
from raft.storage.store import Store


def _no_sync() -> AbstractContextManager[None]:
    return replaced(Device, "sync", lambda _device, _file: None)


def _no_directory_sync() -> AbstractContextManager[None]:
    return replaced(Device, "sync_directory", lambda _device, _directory: None)


def _no_hard_state_sync() -> AbstractContextManager[None]:
    write = Store.write

    def careless(store: Any, hard_state: Any, entries: Any, snapshot: Any) -> None:
        store.device._sync = bool(entries or snapshot)
        try:
            write(store, hard_state, entries, snapshot)
        finally:
            store.device._sync = True

    return replaced(Store, "write", careless)


def _no_promises() -> AbstractContextManager[None]:
    return replaced(LogWriter, "_is_acknowledgement", lambda _log_writer, _hard_state: False)


def _said_before_durable(kind: type[VoteReply] | type[AppendReply]) -> Patch:
    def patch() -> AbstractContextManager[None]:
        wait = Raft.send_when_durable

        def say(raft: Raft, message: Any) -> None:
            if isinstance(message, kind) and message.to != raft.id:
                raft.send(message)
            else:
                wait(raft, message)

        return replaced(RaftState, "send_when_durable", say)

    return patch


def _leads_before_durable() -> AbstractContextManager[None]:
    count = candidate._count

    def hasty(raft: Raft, message: Any) -> Any:
        result = count(raft, message)
        if result is VoteResult.WON:
            raft.tracker.votes.setdefault(raft.id, True)
        return result

    return replaced(candidate, "_count", hasty)


def _counts_itself_early() -> AbstractContextManager[None]:
    append = replication.append_to_log

    def early(raft: Raft, entries: Any) -> None:
        append(raft, entries)
        raft.tracker.progress[raft.id].acknowledge(raft.log.last)
        replication.try_commit(raft)

    return replaced(replication, "append_to_log", early)


def _no_checksums() -> AbstractContextManager[None]:
    return replaced(batch, "crc32", lambda _data, _seed=0: 0x5EED)


def _torn_tail_stays() -> AbstractContextManager[None]:
    return replaced(Segment, "_blank_tail", lambda _segment: None)


def _corruption_is_cut() -> AbstractContextManager[None]:
    replay = recovery._replay_segment

    def forgiving(*arguments: Any) -> Any:
        segment, tail, damage = replay(*arguments)
        return segment, tail, None if damage is None else damage._replace(torn=True)

    return replaced(recovery, "_replay_segment", forgiving)


def _no_seals() -> AbstractContextManager[None]:
    def careless(log: Any) -> None:
        if log._unsealed is not None:
            log._unsealed.close()
            log._unsealed = None

    return replaced(wal.Log, "_seal", careless)


def _snapshots_sealed_when_sent() -> AbstractContextManager[None]:
    begin = Transfers.begin

    def trusting(transfers: Transfers, message: InstallSnapshot) -> None:
        message.snapshot = sealed(message.snapshot)
        begin(transfers, message)

    return replaced(Transfers, "begin", trusting)


def _rolled_back_goes_on() -> AbstractContextManager[None]:
    commit_to = Log.commit_to

    def shrug(log: Log, index: Index) -> None:
        commit_to(log, min(index, log.last))

    return replaced(Log, "commit_to", shrug)


@contextmanager
def _majorities_are_followed() -> Iterator[None]:
    """A leader counts entries that it lacks, and a follower checks only what it has yet to commit."""
    step = Raft.step

    def count(raft: Raft, message: Any) -> None:
        if type(message) is AppendReply and raft.role is Role.LEADER:
            message = structs.replace(message, index=min(message.index, raft.log.last))
        step(raft, message)

    with (
        replaced(Raft, "step", count),
        replaced(follower, "_check_agrees", lambda _raft, _message: None),
    ):
        yield


def _votes_twice() -> AbstractContextManager[None]:
    step = Raft.step

    def forgetful(raft: Raft, message: Any) -> None:
        if type(message) is RequestVote and raft.role is Role.FOLLOWER and message.term == raft.term:
            raft.vote = raft.leader = NO_NODE
        step(raft, message)

    return replaced(Raft, "step", forgetful)


def _votes_for_any_log() -> AbstractContextManager[None]:
    return replaced(Log, "is_up_to_date", lambda _log, _index, _term: True)


def _commits_by_a_minority() -> AbstractContextManager[None]:
    def generous(acknowledged: list[int]) -> int:
        ascending = sorted(acknowledged)
        return ascending[min(len(ascending) // 2 + 1, len(ascending) - 1)] if ascending else 1 << 60

    return replaced(tracker, "majority_index", generous)


def _commits_old_terms_by_counting() -> AbstractContextManager[None]:
    def count_only(raft: Raft) -> bool:
        index = raft.tracker.committed()
        advanced = index > raft.log.committed
        raft.log.commit_to(index)
        return advanced

    return replaced(replication, "try_commit", count_only)


def _appends_always_truncate() -> AbstractContextManager[None]:
    append = Log.try_append

    def brutal(log: Log, previous_index: int, previous_term: int, commit: int, entries: Any) -> bool:
        known = log.matches(previous_index, previous_term) and entries and entries[0].index > log.committed
        if known and entries[-1].index < log.last:
            log.append(entries)
        return append(log, previous_index, previous_term, commit, entries)

    return replaced(Log, "try_append", brutal)


@contextmanager
def _commits_what_is_not_verified() -> Iterator[None]:
    """Removes two guards at once, for either suffices.

    A leader finds exactly where a log differs from its own, so the first entry that it sends there replaces
    all that was not compared. So here it begins from the first entry.
    """
    append, reject = Log.try_append, Progress.reject

    def trusting(log: Log, previous_index: int, previous_term: int, commit: int, entries: Any) -> bool:
        fits = append(log, previous_index, previous_term, commit, entries)
        if fits:
            log.commit_to(min(commit, log.last))
        return fits

    def start_over(peer: Progress, rejected: int, hint: int) -> bool:
        news = reject(peer, rejected, hint)
        peer.next = peer.match + 1 if news else peer.next
        return news

    with replaced(Log, "try_append", trusting), replaced(Progress, "reject", start_over):
        yield


@contextmanager
def _any_write_makes_stable() -> Iterator[None]:
    dismiss = elections._on_lower_term

    def gullible(log: Log, index: int, _term: int) -> None:
        index = min(index, log.last)
        if log.offset <= index:
            del log.unstable[: index + 1 - log.offset]
            log.offset = index + 1
            log.offset_in_progress = max(log.offset_in_progress, index + 1)

    def heed(raft: Raft, message: Any) -> None:
        if isinstance(message, StorageAppendReply) and message.last_index:
            raft.log.stable_to(message.last_index, message.last_term)
        dismiss(raft, message)

    with replaced(Log, "stable_to", gullible), replaced(elections, "_on_lower_term", heed):
        yield


def _installs_stale_snapshots() -> AbstractContextManager[None]:
    restore = membership.restore

    def eager(raft: Raft, snapshot: Snapshot) -> bool:
        if (
            raft.role is Role.FOLLOWER
            and raft.log.unstable_snapshot is None
            and snapshot.index < raft.log.last
        ):
            raft.log.committed = min(raft.log.committed, snapshot.index - 1)
            with replaced(Log, "matches", lambda _log, _index, _term: False):
                return restore(raft, snapshot)
        return restore(raft, snapshot)

    return replaced(membership, "restore", eager)


def _applies_twice() -> AbstractContextManager[None]:
    def mislabelled(index: Index, term: Term, conf_state: ConfState, data: bytearray) -> Snapshot:
        return Snapshot(max(index - 1, 1), term, conf_state, data)

    return replaced(taker, "Snapshot", mislabelled)


@contextmanager
def _removed_leaders_go() -> Iterator[None]:
    """It answers and steps down as soon as it has applied the change itself."""
    answer_when_known = MemberRequests._answer_when_known

    def answer(requests: Any, reply: Any) -> None:
        if requests._raft.role is Role.LEADER:
            answer_when_known(requests, reply)
        else:
            reply.send(requests._members())

    with (
        replaced(membership, "_lead_until_known", membership.end_leadership),
        replaced(MemberRequests, "_answer_when_known", answer),
    ):
        yield


def _wiped_disks_begin() -> AbstractContextManager[None]:
    open_store = Store.open

    def anywhere(*arguments: Any, **options: Any) -> Store:
        return open_store(*arguments, **{**options, "create": True})

    return replaced(Store, "open", staticmethod(anywhere))


def _forgets_sessions() -> AbstractContextManager[None]:
    return replaced(Sessions, "snapshot", lambda _sessions: [])


def _carries_out_retries() -> AbstractContextManager[None]:
    return replaced(Sessions, "keep", lambda _sessions, _call, _command, _answer: None)


def _holds_what_has_ended() -> AbstractContextManager[None]:
    """A seat outlives its lease, at least for the fence."""
    return replaced(Elections, "rejection", lambda _elections, _fence: None)


def _leases_end_early() -> AbstractContextManager[None]:
    keep_alive = LeaseClock.keep_alive

    def deaf(clock: Any, lease: int, now_seconds: float) -> float | None:
        deadline = clock._deadlines.get(lease)
        left_seconds = keep_alive(clock, lease, now_seconds)
        if deadline is not None and left_seconds is not None:
            clock._count(lease, deadline + clock._lag_seconds)
        return left_seconds

    return replaced(LeaseClock, "keep_alive", deaf)


def _answers_before_commit() -> AbstractContextManager[None]:
    propose = ClientRequests.propose

    def hasty(service: Any) -> None:
        first, arrived = service._raft.log.last + 1, service.arrived
        propose(service)
        for index, (command, reply) in enumerate(arrived, first):
            call = decode_call(command.body)
            if service._raft.role is Role.LEADER and call and isinstance(call.operation, Put):
                reply.send(Committed(index, encode_answer(Stored(index))))

    return replaced(ClientRequests, "propose", hasty)


def _reads_without_a_quorum() -> AbstractContextManager[None]:
    def trusting(raft: Raft, message: Any) -> None:
        reads.answer(raft, message, raft.log.committed)

    return replaced(reads, "confirm_or_answer", trusting)


def _reads_before_the_first_commit() -> AbstractContextManager[None]:
    return replaced(reads, "committed_in_current_term", lambda _raft: True)


def _reads_what_is_here() -> AbstractContextManager[None]:
    def local(service: Any, query: Any, reply_handle: Any, _now: float) -> None:
        service._reads.add_stale(query.body, reply_handle(), _now)

    return replaced(ClientRequests, "query", local)


def _refuses_what_is_logged() -> AbstractContextManager[None]:
    return replaced(proposals, "LEADERSHIP_LOST", proposals.OVERWRITTEN)


@contextmanager
def _foreign_nodes_are_added() -> Iterator[None]:
    """A node's claims about its history are not checked."""
    with (
        replaced(Handshakes, "_objection", lambda _handshakes, _told, _endpoint: ""),
        replaced(handshakes, "fits", lambda _origin, _told: True),
    ):
        yield


def _own_machine_on_the_loop() -> AbstractContextManager[None]:
    make = Member._make_applying

    def on_the_loop(member: Any, post: Any) -> Any:
        """The node is blocked while the custom machine works."""
        simulated_worker, host = make(member, post), member.host

        def give_back() -> None:
            if host.paused:
                host.resume()
                simulated_worker.resume()

        def take(job: Any, done: Any) -> None:
            host.pause()
            member._event_queue.after(2 * member._setting.own_seconds, give_back)
            simulated_worker.submit(job, done)

        return SimpleNamespace(submit=take, rest=simulated_worker.rest, close=simulated_worker.close)

    return replaced(Member, "_make_applying", on_the_loop)


SABOTAGES = (
    Sabotage(
        "own-machine-on-the-loop",
        "the node stands still while the user's own machine works",
        _own_machine_on_the_loop,
    ),
    Sabotage("no-sync", "the log is written and never synced", _no_sync),
    Sabotage("no-hard-state-sync", "term and vote are written and not synced", _no_hard_state_sync),
    Sabotage("no-hard-state", "term and vote are not written before they are spoken of", _no_promises),
    Sabotage("no-directory-sync", "new names are not made durable", _no_directory_sync),
    Sabotage("vote-before-sync", "a vote is sent before it is durable", _said_before_durable(VoteReply)),
    Sabotage(
        "acknowledge-before-sync",
        "entries are acknowledged before they are durable",
        _said_before_durable(AppendReply),
    ),
    Sabotage("lead-before-sync", "a leader's own vote need not be durable", _leads_before_durable),
    Sabotage("count-itself-early", "a leader counts itself before its own sync", _counts_itself_early),
    Sabotage("no-checksums", "torn and flipped records are believed", _no_checksums),
    Sabotage("torn-tail-stays", "the torn end of a log is left where it is", _torn_tail_stays),
    Sabotage(
        "cut-at-corruption", "damage in the middle of a log is cut off like a torn tail", _corruption_is_cut
    ),
    Sabotage("no-seals", "the loss of a log's newest segment is not noticed", _no_seals),
    Sabotage(
        "rotten-snapshot",
        "a snapshot gets its checksum when it is sent, from what the disk gives back",
        _snapshots_sealed_when_sent,
    ),
    Sabotage(
        "rolled-back-goes-on",
        "a node whose disk went back takes part, as if it had only crashed",
        _rolled_back_goes_on,
    ),
    Sabotage("majority-followed", "a majority whose disks went back is followed", _majorities_are_followed),
    Sabotage("vote-twice", "a second vote in the same term", _votes_twice),
    Sabotage("vote-for-any-log", "votes for logs that lack entries", _votes_for_any_log),
    Sabotage("minority-commit", "one voter less than a majority suffices to commit", _commits_by_a_minority),
    Sabotage(
        "figure-8", "entries of earlier terms are committed by counting", _commits_old_terms_by_counting
    ),
    Sabotage("stale-append-truncates", "a late append cuts the log back", _appends_always_truncate),
    Sabotage(
        "unverified-commit", "a follower commits what it has not compared", _commits_what_is_not_verified
    ),
    Sabotage("aba", "an old write makes newer entries count as durable", _any_write_makes_stable),
    Sabotage("stale-snapshot", "a snapshot older than the log is installed", _installs_stale_snapshots),
    Sabotage(
        "apply-twice", "a snapshot holds more than its index says, which is applied again", _applies_twice
    ),
    Sabotage("foreign-node-added", "a node with a history of its own is added", _foreign_nodes_are_added),
    Sabotage(
        "removed-leader-goes", "a removed leader goes before the others know of it", _removed_leaders_go
    ),
    Sabotage("wiped-disk-begins", "a node that lost its disk votes again", _wiped_disks_begin),
    Sabotage("no-sessions-in-snapshot", "a snapshot leaves the clients' sessions out", _forgets_sessions),
    Sabotage("retry-carried-out", "a session's retry is carried out again", _carries_out_retries),
    Sabotage("no-fence", "a fenced write passes without a seat", _holds_what_has_ended),
    Sabotage("lease-cut-short", "a keep-alive is answered and does not count", _leases_end_early),
    Sabotage("answer-before-commit", "a write is answered when it is logged", _answers_before_commit),
    Sabotage("read-without-quorum", "a leader answers reads without a quorum", _reads_without_a_quorum),
    Sabotage(
        "read-before-commit", "a new leader reads before its first commit", _reads_before_the_first_commit
    ),
    Sabotage("read-anywhere", "any node answers reads from what it has", _reads_what_is_here),
    *LEASE_SABOTAGES,
    Sabotage("dishonest-refusal", "what may be committed is called refused", _refuses_what_is_logged),
)
