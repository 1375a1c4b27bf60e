"""Asks each node of a cluster the same question, directly, whatever its role.

Owns a connection for the time of the question. Knows nothing of the question.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from actors.errors import ActorsError, AskFailed
from actors.transport.endpoints import split_tcp
from raft.client.connection import Connection
from raft.protocol.registry import address_of

LOOK_SECONDS = 0.02


class CannotAsk(Exception):
    """That node cannot be asked from here, whether it is up or not: no key for it, or no valid address."""


Answers = dict[int, object]
"""By node: its answer; an AskFailed if it gave none; or CannotAsk."""


def ask_each(
    endpoints: Mapping[int, str],
    request: object,
    *,
    cluster: str,
    keys: str | Path | None = None,
    timeout_seconds: float = 2.0,
    enough: int | None = None,
) -> Answers:
    """Ask all nodes at once, and wait until each has answered, or `enough` of them, or the time is up.

    Raises TransportError for unusable keys.
    """
    survey = _Survey(Connection({}, cluster=cluster, keys=keys), request, timeout_seconds)
    try:
        return survey.run(endpoints, len(endpoints) if enough is None else enough)
    finally:
        survey.connection.close()


class _Survey:
    """One question to all nodes; each is asked as soon as it is reachable, and again if that fails."""

    def __init__(self, connection: Connection, request: object, timeout_seconds: float) -> None:
        self.connection = connection
        self._request = request
        self._until = time.monotonic() + timeout_seconds
        self._answers: Answers = {}
        self._failures: dict[int, AskFailed] = {}
        self._asked: set[int] = set()

    def run(self, endpoints: Mapping[int, str], enough: int) -> Answers:
        """All answers, in the order of the endpoints."""
        for node, endpoint in endpoints.items():
            try:
                self.connection.connect(node, endpoint)
            except ActorsError as error:
                self._answers[node] = CannotAsk(str(error))
        cannot = len(self._answers)
        while (
            len(self._answers) < min(enough + cannot, len(endpoints))
            and (left := self._until - time.monotonic()) > 0
        ):
            for node in endpoints.keys() - self._answers.keys() - self._asked:
                if self.connection.is_up(node):
                    self._ask(node, left)
            self.connection.runtime.flush()
            self.connection.runtime.run_turn(min(left, LOOK_SECONDS))
        for node in endpoints.keys() - self._answers.keys() - self._asked:
            self._ask(node, 0.0)  # It fails at once, and says why.
        self.connection.runtime.flush()
        self.connection.runtime.run_turn(0.0)
        no_answer = AskFailed("it does not answer")
        return {node: self._answers.get(node, self._failures.get(node, no_answer)) for node in endpoints}

    def _ask(self, node: int, seconds: float) -> None:
        self._asked.add(node)
        pending = self.connection.runtime.ask(address_of(node), self._request, seconds)
        pending.then(partial(self._answers.setdefault, node), partial(self._failed, node))

    def _failed(self, node: int, failure: AskFailed) -> None:
        self._failures[node] = failure
        self._asked.discard(node)


def why_unsure(endpoint: str, timeout_seconds: float = 1.0) -> str:
    """Why a node that does not answer there may live all the same; "" if nothing speaks for that."""
    try:
        if endpoint.startswith("ipc://"):
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(timeout_seconds)
                probe.connect(endpoint.removeprefix("ipc://"))
        else:
            socket.create_connection(split_tcp(endpoint), timeout_seconds).close()
    except socket.gaierror as error:
        return f"the name in {endpoint} leads nowhere from here ({error.strerror})"
    except OSError:
        return ""
    return f"something listens at {endpoint}, and does not answer: does it take this key, or was it stopped?"
