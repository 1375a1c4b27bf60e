"""A cluster without a launcher here: what its nodes say and do when a verb asks them at their endpoints.

Owns the answers to the same messages that a launcher takes, as far as nodes can give them, and the refusal of
the rest. Knows nothing of how a verb is typed or what it prints.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

import msgspec
from msgspec import Struct

from actors.errors import AskFailed, TransportError
from raft.cluster.failures import BadUsage, ExitCode, Unreachable, VerbFailed
from raft.cluster.quorum import Quorum, age, best_group, seconds_without_quorum
from raft.cluster.rpc.messages import (
    AddMember,
    ClusterStatus,
    Done,
    FaultEntry,
    FaultList,
    ForceSnapshot,
    GetClusterStatus,
    GetLeader,
    GetMembers,
    HandOver,
    LeaderAnswer,
    ListFaults,
    MemberEntry,
    MemberList,
    NodeView,
    PromoteMember,
    RemoveMember,
    ReplaceMember,
)
from raft.cluster.selectors import SelectionScope, select, select_one, voters_in_words
from raft.cluster.status import with_answer

if TYPE_CHECKING:
    from raft.client import Client
    from raft.protocol.admin import CannotDo, NodeStatus
    from raft.protocol.client import Invalid, Members

STATUS_SECONDS = 2.0
REQUEST_SECONDS = 5.0
SNAPSHOT_SECONDS = 60.0
LOOK_AGAIN_SECONDS = 0.05
LISTENS_SECONDS = 0.5
DOWN = "down"  # As an actor system says that there is no connection.
# Their election timeouts are not known here; a node that was not heard for so long is cut off anywhere.
HEARS_SECONDS_MAX = 1.0

NOT_ALLOWED = (
    "these nodes do not allow that: processes, links, disks and clocks are a launcher's, and nodes obey only "
    "the one that has started them. On the host of a node, use what supervises it there"
)

A = TypeVar("A")


class Target(Struct, frozen=True, kw_only=True):
    """Nodes that are spoken to without a launcher."""

    endpoints: dict[int, str]
    cluster: str = "default"
    keys: str | None = None
    name: str = ""  # What people call the cluster; "" if they call it as above.

    @property
    def hint(self) -> str:
        """What may be wrong if no node answers."""
        asked = ", ".join(f"n{node} at {endpoint}" for node, endpoint in self.endpoints.items())
        keys = f"take the key {self.keys}" if self.keys else "need no key (--keys)"
        cluster = f"is their cluster called {self.cluster!r} (--cluster-id)"
        return f"Are they up, {asked}, {cluster}, and do they {keys}?"


class RemoteCluster:
    """Takes what a `Launcher` takes, for as long as the `with` block lasts."""

    def __init__(self, target: Target, failed: Callable[[Any], VerbFailed]) -> None:
        self.target = target
        self._failed = failed  # How an error of a client ends a verb.
        self._seconds = REQUEST_SECONDS
        self._handlers: dict[type, Callable[[Any], object]] = {
            GetClusterStatus: lambda _: self.status_of(*self._said()),
            GetLeader: self._leader,
            GetMembers: lambda _: _listed(self._change(lambda client: client.members())),
            ListFaults: lambda _: self._faults(),
            HandOver: self._hand_over,
            ForceSnapshot: self._snapshot,
            AddMember: self._add,
            PromoteMember: self._promote,
            RemoveMember: self._remove,
            ReplaceMember: self._replace,
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is kept."""

    @property
    def record(self) -> NoReturn:
        """What a launcher writes about itself: there is none here."""
        raise VerbFailed(NOT_ALLOWED)

    def ask(self, verb: object, expected: type[A], timeout_seconds: float = REQUEST_SECONDS) -> A:
        """The nodes' answer. Raises VerbFailed, and for what nodes do not do, too."""
        handler = self._handlers.get(type(verb))
        if handler is None:
            raise VerbFailed(NOT_ALLOWED)
        self._seconds = timeout_seconds
        answer = handler(verb)
        assert isinstance(answer, expected), f"{type(verb).__name__} was answered by {type(answer).__name__}"
        return answer

    # -- looking --------------------------------------------------------------------------------------

    def members(self) -> dict[int, str]:
        """Where all members are, as one of them says; those that were given only, if none answers."""
        from raft.protocol.client import LeaderIs, WhoLeads

        given = self.target.endpoints
        answers = self._ask_each(given, WhoLeads(), STATUS_SECONDS, enough=1)
        for answer in answers.values():
            if isinstance(answer, LeaderIs) and answer.endpoints:
                # They may know each other by names that mean nothing here.
                return {node: given.get(node, answer.endpoints[node]) for node in sorted(answer.endpoints)}
        why = "; ".join(_why_silent(node, answers[node], at) for node, at in given.items())
        raise Unreachable(f"no node answers ({why}). {self.target.hint}")

    def _ask_each(
        self, endpoints: dict[int, str], request: object, seconds: float, enough: int | None = None
    ) -> dict[int, object]:
        from raft.client.survey import ask_each

        target = self.target
        try:
            return ask_each(
                endpoints,
                request,
                cluster=target.cluster,
                keys=target.keys,
                timeout_seconds=seconds,
                enough=enough,
            )
        except TransportError as error:
            raise BadUsage(str(error)) from error

    def _said(self) -> tuple[dict[int, NodeStatus], list[int]]:
        """What the members say of themselves that answer, and all of their ids."""
        from raft.protocol.admin import GetStatus, NodeStatus

        members = self.members()
        answers = self._ask_each(members, GetStatus(), STATUS_SECONDS)
        said = {node: answer for node, answer in answers.items() if isinstance(answer, NodeStatus)}
        return said, list(members)

    def status_of(self, said: dict[int, NodeStatus], addresses: list[int]) -> ClusterStatus:
        """The cluster, from what nodes say of themselves; `addresses`: the nodes that were asked."""
        leader = _leader_of(said)
        voters, learners = _members_of(said, leader)
        nodes = sorted({*voters, *learners}) or addresses  # A node may know of more that are no members.
        ages = {node: status.heard_seconds for node, status in said.items()}
        answering = [node for node in nodes if node in said]
        leaders = {leader} if leader is not None else set()
        group = best_group([node for node in answering if node in voters], leaders, ages, HEARS_SECONDS_MAX)
        heard = {
            node for node in answering if any(age(ages, node, one) <= HEARS_SECONDS_MAX for one in group)
        }
        reachable, needed = sum(node in group for node in voters), len(voters) // 2 + 1
        since = seconds_without_quorum(voters, ages) if reachable < needed else None
        views = [_view(node, said.get(node), votes=node in voters) for node in nodes]
        return ClusterStatus(
            cluster=self.target.name or self.target.cluster,
            leader=leader,
            term=max((status.term for status in said.values()), default=0),
            voters=len(voters),
            alive=sum(node in voters for node in answering),
            can_lose=max(reachable - needed, 0),
            nodes=[msgspec.structs.replace(view, in_quorum=view.id in group | heard) for view in views],
            out_of_space=any(status.out_of_space for status in said.values()),
            quorum=Quorum(needed, reachable, None if since is None else round(since, 3)),
        )

    def _leader(self, verb: GetLeader) -> LeaderAnswer:
        with self._client(max(verb.wait_seconds, STATUS_SECONDS)) as client:
            found = client.leader()
        return LeaderAnswer(found.leader, found.term)

    def _faults(self) -> FaultList:
        said, _ = self._said()
        told = [(node, text) for node, status in said.items() for text in status.faults]
        return FaultList(
            [FaultEntry(number, "", [node], text) for number, (node, text) in enumerate(told, 1)]
        )

    # -- steering -------------------------------------------------------------------------------------

    def _hand_over(self, verb: HandOver) -> Done:
        from raft.protocol.admin import CannotDo, Transfer
        from raft.protocol.client import Invalid

        members = self.members()
        with self._client(REQUEST_SECONDS) as client:
            before = client.leader()
            to = self._one(verb.to, members, before.leader) if verb.to else 0
            if to == before.leader:
                raise VerbFailed(f"n{to} leads already")
            leader = {before.leader: members[before.leader]}
            answer = self._ask_each(leader, Transfer(to), REQUEST_SECONDS)[before.leader]
            if isinstance(answer, CannotDo | Invalid):
                raise _refused(answer)
            if isinstance(answer, AskFailed):
                raise Unreachable(f"n{before.leader} leads, and does not answer: {answer}")
            until = time.monotonic() + REQUEST_SECONDS
            while time.monotonic() < until:
                after = client.leader()
                if after.term > before.term and to in (0, after.leader):
                    return Done([f"n{after.leader} leads term {after.term}, after n{before.leader}"])
                time.sleep(LOOK_AGAIN_SECONDS)
        raise VerbFailed("leadership has not moved", ExitCode.TIMED_OUT)

    def _snapshot(self, verb: ForceSnapshot) -> Done:
        from raft.protocol.admin import SnapshotTaken, TakeSnapshot
        from raft.protocol.client import Invalid

        members = self.members()
        chosen = self._chosen(verb.selector, members)
        answers = self._ask_each({node: members[node] for node in chosen}, TakeSnapshot(), SNAPSHOT_SECONDS)
        for answer in answers.values():
            if isinstance(answer, Invalid):
                raise _refused(answer)
        failures = [
            f"n{node}: {getattr(answer, 'reason', answer)}"
            for node, answer in answers.items()
            if not isinstance(answer, SnapshotTaken)
        ]
        if failures:
            raise VerbFailed("; ".join(failures))
        return Done(
            [
                f"n{n} has a snapshot at {it.index}"
                for n, it in answers.items()
                if isinstance(it, SnapshotTaken)
            ]
        )

    # -- members --------------------------------------------------------------------------------------

    def _add(self, verb: AddMember) -> Done:
        node, endpoint = _named(verb.node, verb.endpoint, "member add 4=tcp://h4:7001")
        after = self._change(lambda client: client.add_member(node, endpoint, learner=verb.learner))
        return Done(
            [f"n{node} joined{' as a learner' if verb.learner else ''}: {voters_in_words(after.voters)}"]
        )

    def _promote(self, verb: PromoteMember) -> Done:
        node = self._one(verb.selector, self.members())
        after = self._change(lambda client: client.promote_member(node))
        return Done([f"n{node} promoted: {voters_in_words(after.voters)}"])

    def _remove(self, verb: RemoveMember) -> Done:
        node = self._one(verb.selector, self.members())
        if verb.dry_run:
            return Done([f"would remove n{node} from the cluster, which then stops"])
        after = self._change(lambda client: client.remove_member(node))
        return Done([f"n{node} removed: {voters_in_words(after.voters)}"])

    def _replace(self, verb: ReplaceMember) -> Done:
        old = self._one(verb.selector, self.members())
        new, endpoint = _named(verb.node, verb.endpoint, f"member replace {old} 4=tcp://h4:7001")
        if verb.dry_run:
            return Done([f"would give the place of n{old} to n{new} at {endpoint}; n{old} then stops"])
        after = self._change(lambda client: client.replace_member(old, new, endpoint))
        return Done([f"n{new} replaced n{old}: {voters_in_words(after.voters)}"])

    def _change(self, make: Callable[[Client], Members]) -> Members:
        with self._client(self._seconds) as client:
            return make(client)

    @contextmanager
    def _client(self, timeout_seconds: float) -> Iterator[Client]:
        from raft.client import Client, errors

        target = self.target
        try:
            with Client(
                target.endpoints,
                cluster=target.cluster,
                keys=target.keys,
                timeout_seconds=timeout_seconds,
            ) as client:
                yield client
        except errors.Unreachable as error:
            raise Unreachable(f"{error}. {target.hint}") from error
        except errors.ClientError as error:
            raise self._failed(error) from error
        except TransportError as error:
            raise BadUsage(str(error)) from error

    def _chosen(self, selector: str, members: dict[int, str]) -> list[int]:
        leader = 0
        if "leader" in selector or "followers" in selector:
            with self._client(REQUEST_SECONDS) as client:
                leader = client.leader().leader
        return select(selector, SelectionScope(tuple(members), tuple(members), leader), random.Random())

    def _one(self, selector: str, members: dict[int, str], leader: int = 0) -> int:
        if not leader and ("leader" in selector or "followers" in selector):
            leader = self._leader(GetLeader()).leader
        return select_one(selector, SelectionScope(tuple(members), tuple(members), leader), random.Random())


def _why_silent(node: int, answer: object, endpoint: str) -> str:
    """What is known of a node that gave no answer; a wrong key and a wrong id look alike from outside."""
    from raft.client.survey import why_unsure

    text = str(answer).removeprefix(f"n{node}: ")
    found = why_unsure(endpoint, LISTENS_SECONDS) if text == DOWN else ""
    return f"n{node}: {found or text}"


def _refused(answer: CannotDo | Invalid) -> VerbFailed:
    allowed = not getattr(answer, "not_allowed", False)
    return VerbFailed(answer.reason, ExitCode.FAILURE if allowed else ExitCode.NOT_ALLOWED)


def _named(node: int, endpoint: str, example: str) -> tuple[int, str]:
    if not node:
        raise BadUsage(f"say which node, and where it listens, as in: {example}; it is started with --join")
    return node, endpoint


def _leader_of(said: dict[int, NodeStatus]) -> int | None:
    """Who leads in the highest term; an old leader that is cut off may not know better."""
    leading = [status for status in said.values() if status.role == "leader"]
    newest = max(leading, key=lambda status: status.term, default=None)
    if newest is None or any(status.term > newest.term and status.leader for status in said.values()):
        return None
    return newest.node


def _members_of(said: dict[int, NodeStatus], leader: int | None) -> tuple[list[int], list[int]]:
    """Who votes and who learns, as the leader has it, or else the node that has applied most."""
    if not said:
        return [], []
    source = said[leader] if leader is not None else max(said.values(), key=lambda status: status.applied)
    return source.voters, source.learners


def _view(node: int, said: NodeStatus | None, *, votes: bool) -> NodeView:
    if said is None:
        return NodeView(id=node, pid=None, state="unreachable", votes=votes)
    view = NodeView(id=node, pid=None, state="running", votes=votes, faults=said.faults)
    return with_answer(view, said, HEARS_SECONDS_MAX)


def _listed(members: Members) -> MemberList:
    roles = dict.fromkeys(members.leaving, "leaving")
    roles |= dict.fromkeys(members.learners, "learner") | dict.fromkeys(members.voters, "voter")
    entries = [
        MemberEntry(
            id=node,
            role=roles[node],
            state=None,
            endpoint=members.endpoints.get(node, ""),
            match=members.match.get(node, 0),
            lag=max(members.commit - members.match.get(node, 0), 0),
        )
        for node in sorted(roles)
    ]
    return MemberList(members.leader, members.term, entries)
