"""What views ask of a cluster without a launcher, again and again: how its nodes are, and where.

Owns the connections that stay open from one look to the next, and how long a look waits: a node that did not
answer the last time holds up no other. What the answers mean is the remote cluster's.
"""

from __future__ import annotations

import time
from typing import Final, TypeVar

from actors.errors import TransportError
from raft.cli.remote import RemoteCluster
from raft.client.survey import Survey
from raft.cluster.failures import BadUsage, VerbFailed
from raft.protocol.admin import GetStatus, NodeStatus

ANSWER_SECONDS: Final = 1.0
SILENT_SECONDS: Final = 0.25  # For nodes that did not answer the last time; more than a round trip anywhere.
MEMBERS_SECONDS: Final = 5.0

A = TypeVar("A")


class RemoteLooks:
    """Answers views as a launcher would; see `raft.live.sampler.Asker`. For one thread."""

    def __init__(self, cluster: RemoteCluster) -> None:
        self._cluster = cluster
        self._survey: Survey | None = None
        self._members: dict[int, str] = {}
        self._members_until = 0.0
        self._silent: set[int] = set()

    def ask(self, verb: object, expected: type[A], timeout_seconds: float) -> A:
        """How the nodes are. Raises VerbFailed when none of them answers."""
        said = self._said(min(timeout_seconds, ANSWER_SECONDS))
        if not said:
            self._members_until = 0.0
            self.members()  # It says what is wrong.
        status = self._cluster.status_of(said, [*self._members])
        if {view.id for view in status.nodes} != self._members.keys():
            self._members_until = 0.0
        if not isinstance(status, expected):
            raise VerbFailed(f"nodes do not answer {type(verb).__name__}")
        return status

    def members(self) -> dict[int, str]:
        """Where all nodes are. Raises VerbFailed."""
        now = time.monotonic()
        if now >= self._members_until:
            self._members = self._cluster.members()
            self._members_until = now + MEMBERS_SECONDS
        return self._members

    def close(self) -> None:
        """Close the connections; the next question opens them again."""
        survey, self._survey = self._survey, None
        self._members_until = 0.0
        if survey is not None:
            survey.__exit__(None, None, None)

    def _said(self, seconds_max: float) -> dict[int, NodeStatus]:
        members = self.members()
        if self._survey is None:
            target = self._cluster.target
            try:
                self._survey = Survey(cluster=target.cluster, keys=target.keys)
            except TransportError as error:
                raise BadUsage(str(error)) from error
        self._survey.connect(members)
        answers: dict[int, object] = {}
        silent = self._silent & members.keys()
        for nodes, seconds in ((members.keys() - silent, seconds_max), (silent, SILENT_SECONDS)):
            if nodes:
                answers |= self._survey.ask(dict.fromkeys(sorted(nodes), GetStatus()), seconds)
        said = {node: answer for node, answer in answers.items() if isinstance(answer, NodeStatus)}
        self._silent = members.keys() - said.keys()
        return said
