"""Asks each node of a cluster directly, whatever its role.

Owns the connections for that, for one question or for as long as they are needed. Knows nothing of the
questions.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

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
    with Survey(cluster=cluster, keys=keys) as survey:
        survey.connect(endpoints)
        return survey.ask(dict.fromkeys(endpoints, request), timeout_seconds, enough)


class Survey:
    """Connections to nodes that are asked again and again, until the end of the `with` block."""

    def __init__(self, *, cluster: str, keys: str | Path | None = None) -> None:
        """Raises TransportError for unusable keys."""
        self._connection = Connection({}, cluster=cluster, keys=keys)
        self._endpoints: dict[int, str] = {}
        self._cannot: dict[int, CannotAsk] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def connect(self, endpoints: Mapping[int, str]) -> None:
        """Connect to these nodes, if that is not done; what stands in the way is their answer."""
        for node, endpoint in endpoints.items():
            if self._endpoints.get(node) == endpoint:
                continue
            self._endpoints[node] = endpoint
            self._cannot.pop(node, None)
            try:
                self._connection.connect(node, endpoint)
            except ActorsError as error:
                self._cannot[node] = CannotAsk(str(error))

    def ask(
        self, requests: Mapping[int, object], timeout_seconds: float, enough: int | None = None
    ) -> Answers:
        """Ask each node its question; see `ask_each`. The answers are in the order of the questions."""
        question = _Question(self._connection, requests, timeout_seconds)
        cannot = {node: self._cannot[node] for node in requests if node in self._cannot}
        return question.run(cannot, len(requests) if enough is None else enough)


class _Question:
    """One question to each node; it is asked as soon as the node is reachable, and again if that fails."""

    def __init__(
        self, connection: Connection, requests: Mapping[int, object], timeout_seconds: float
    ) -> None:
        self._connection = connection
        self._requests = requests
        self._until = time.monotonic() + timeout_seconds
        self._answers: Answers = {}
        self._failures: dict[int, AskFailed] = {}
        self._asked: set[int] = set()

    def run(self, cannot: Mapping[int, CannotAsk], enough: int) -> Answers:
        """All answers, in the order of the requests."""
        requests, runtime = self._requests, self._connection.runtime
        self._answers.update(cannot)
        while (
            len(self._answers) < min(enough + len(cannot), len(requests))
            and (left := self._until - time.monotonic()) > 0
        ):
            for node in requests.keys() - self._answers.keys() - self._asked:
                if self._connection.is_up(node):
                    self._ask(node, left)
            runtime.flush()
            runtime.run_turn(min(left, LOOK_SECONDS))
        for node in requests.keys() - self._answers.keys() - self._asked:
            self._ask(node, 0.0)  # It fails at once, and says why.
        runtime.flush()
        runtime.run_turn(0.0)
        no_answer = AskFailed("it does not answer")
        return {node: self._answers.get(node, self._failures.get(node, no_answer)) for node in requests}

    def _ask(self, node: int, seconds: float) -> None:
        self._asked.add(node)
        pending = self._connection.runtime.ask(address_of(node), self._requests[node], seconds)
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
    return (
        f"something listens at {endpoint}, and does not answer: is it this node, does it take this key, "
        "or was it stopped?"
    )
