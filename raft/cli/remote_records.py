"""The records of a cluster without a launcher here: what its nodes tell, asked for again and again.

Owns the pages, the merging by time, and the lines about nodes that do not answer. Knows nothing of filters or
of how lines are shown.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from msgspec import Struct, field

from actors.errors import TransportError
from raft.cli.remote import STATUS_SECONDS, RemoteCluster
from raft.client.survey import Survey
from raft.cluster.failures import BadUsage, ExitCode, VerbFailed
from raft.cluster.records.logs import LogLine, parse_line
from raft.cluster.records.node_events import ANSWERS, FORGOTTEN, UNREACHABLE, Told, event_as_line, remark
from raft.cluster.records.timestamps import wall_now
from raft.protocol.client import Invalid
from raft.protocol.records import GetRecords, Records


class Heard(Struct):
    """What one look has brought: events or lines; and remarks, which are about nodes and not theirs."""

    events: list[Told] = field(default_factory=list)
    lines: list[LogLine] = field(default_factory=list)
    remarks: list[LogLine] = field(default_factory=list)

    @property
    def members_changed(self) -> bool:
        """A node tells of another configuration."""
        changed = "configuration"
        return any(event.kind == changed for _, event in self.events) or any(
            line.event == changed for line in self.lines
        )

    def merged(self) -> list[LogLine]:
        """All that nodes told, by time."""
        lines = [*self.lines, *(event_as_line(node, event) for node, event in self.events)]
        return sorted(lines, key=lambda line: line.moment)


class _Place(Struct):
    """How far one node's records have been told; in which of its incarnations."""

    incarnation: int = 0
    upto: int = 0
    moment: float = 0.0  # Of its last line, for those without a time.
    silent: bool = False


class RemoteRecords:
    """Asks all members for what is new, for as long as the `with` block lasts."""

    def __init__(self, cluster: RemoteCluster, *, log: bool) -> None:
        """`log`: the lines of logs, in place of events. Raises Unreachable if no node answers at all."""
        self.leader = 0
        """Who leads, by what was told last; 0 if that is not known."""
        self._term = 0
        self._cluster = cluster
        self._log = log
        self._places: dict[int, _Place] = {}
        try:
            self._survey = Survey(cluster=cluster.target.cluster, keys=cluster.target.keys)
        except TransportError as error:
            raise BadUsage(str(error)) from error
        self.learn_members()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._survey.__exit__(kind, error, trace)

    @property
    def members(self) -> tuple[int, ...]:
        """All nodes that are asked."""
        return tuple(sorted(self._places))

    @property
    def unreachable(self) -> list[int]:
        """Those that did not answer the last time."""
        return [node for node in self.members if self._places[node].silent]

    def learn_members(self) -> None:
        """Ask who the members are; those before are asked further. Raises Unreachable."""
        members = self._cluster.members()
        self._survey.connect(members)
        for node in members:
            self._places.setdefault(node, _Place())

    def look(self, seconds: float = STATUS_SECONDS) -> Heard:
        """What is new, from all members that answer in time. Raises VerbFailed if none may be asked."""
        heard = Heard()
        asked = list(self.members)
        while asked:
            requests = {
                node: GetRecords(self._log, self._places[node].incarnation, self._places[node].upto)
                for node in asked
            }
            answers = self._survey.ask(requests, seconds)
            if all(isinstance(answer, Invalid) for answer in answers.values()):
                raise all_refused(answers)
            asked = [node for node, answer in answers.items() if self._take(node, answer, heard)]
        return heard

    def _take(self, node: int, answer: object, heard: Heard) -> bool:
        """Keep an answer; whether the node has more to tell."""
        place = self._places[node]
        now = wall_now()
        if not isinstance(answer, Records):
            if not place.silent:
                text = str(getattr(answer, "reason", answer)).removeprefix(f"n{node}: ")
                heard.remarks.append(remark(node, UNREACHABLE, f"n{node} tells nothing: {text}", now))
            place.silent = True
            return False
        if place.silent:
            place.silent = False
            heard.remarks.append(remark(node, ANSWERS, f"n{node} answers again", now))
        if answer.term >= self._term and answer.leader:
            self._term, self.leader = answer.term, answer.leader
        if answer.forgotten and place.upto:
            text = f"{answer.forgotten} before those that follow are not kept"
            heard.remarks.append(remark(node, FORGOTTEN, text, now))
        place.incarnation, place.upto = answer.incarnation, answer.upto
        heard.events += ((node, event) for event in answer.events)
        for raw in answer.lines:
            line = parse_line(raw, node, place.moment)
            place.moment = line.moment
            heard.lines.append(line)
        return answer.upto < answer.newest


def all_refused(answers: dict[int, object]) -> VerbFailed:
    """What to raise when no node may be asked."""
    refused = [answer for answer in answers.values() if isinstance(answer, Invalid)]
    code = ExitCode.NOT_ALLOWED if any(answer.not_allowed for answer in refused) else ExitCode.FAILURE
    return VerbFailed(refused[0].reason, code)
