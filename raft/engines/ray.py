"""A cluster as named, detached actors of Ray, each pinned to its host and to the data that it has there.

Owns what Ray is asked for. Ray starts a member's actor again on the host that has its data; it never decides
who is a member or who leads: a member that is gone for good is replaced only when `replace` is called.

Needs the extra `raft-actors[ray]`. A host is known to Ray by a resource of its own, as in
`ray start --resources '{"host-a": 1}'`.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import ray
from msgspec import Struct

from raft.client import Client
from raft.embedding import Node, NodeRefused, Settings
from raft.node.process.data_dir import INCARNATION
from raft.node.process.permit import permit_first_start
from raft.protocol.admin import NodeStatus

PORT: Final = 7000  # Plus the id, where no endpoints are given.
SHARE: Final = 0.001  # Of a host's resource, so that it pins an actor, and is not used up.
START_SECONDS_MAX: Final = 20.0
STATUS_SECONDS_MAX: Final = 5.0
LOOK_SECONDS: Final = 0.05
IN_USE: Final = ("is in use by another process", "in use")


class GroupError(Exception):
    """The group cannot be as it was asked for; the text says what to do. Nothing was changed."""


class MemberPlan(Struct, frozen=True, kw_only=True):
    """What one member's actor has to know; its directory and endpoint are those of its host."""

    node: int
    endpoint: str
    data_dir: str
    settings: Settings
    patience_seconds: float = START_SECONDS_MAX


class Member:
    """The actor: a node, for as long as the actor's process lives, and not longer.

    It waits a little for a directory that is in use, as the node of its last incarnation may be about to end.
    If it stays in use, by another actor of the same identity, the actor fails, and is not started again.
    """

    def __init__(self, plan: MemberPlan) -> None:
        self._raylet = os.getppid()
        self._node = _entered(plan)
        threading.Thread(target=self._end_with_node, name="raft-member", daemon=True).start()

    def status(self) -> NodeStatus:
        """The node's own view."""
        return self._node.status()

    def metrics(self) -> str:
        """What the node counts, in Prometheus's text format."""
        return self._node.metrics()

    def stop(self) -> None:
        """Hand over, and end; the actor is not started again."""
        self._node.__exit__(None, None, None)
        ray.actor.exit_actor()

    def _end_with_node(self) -> None:
        """A node that was given up may fare better in another process: that is Ray's to start.

        Without its raylet this process does not end by itself, and would keep the directory from its
        successor.
        """
        while not self._node.failed.wait(LOOK_SECONDS) and os.getppid() == self._raylet:
            pass
        os._exit(1)


def _entered(plan: MemberPlan) -> Node:
    until = time.monotonic() + plan.patience_seconds
    while True:
        settings: Settings = {**plan.settings, "existing": True}
        node = Node(plan.node, listen=plan.endpoint, data_dir=plan.data_dir, **settings)
        try:
            return node.__enter__()
        except NodeRefused as refusal:
            if time.monotonic() > until or not any(words in str(refusal) for words in IN_USE):
                raise
        time.sleep(0.1)


class Found(Struct, frozen=True):
    """A member's host and directory, as they were found."""

    address: str
    has_run: bool


class RayGroup:
    """A cluster of Raft nodes in Ray actors, by name; several programs may have one of the same name."""

    def __init__(
        self,
        name: str,
        *,
        hosts: Mapping[int, str],
        data_root: str | Path,
        endpoints: Mapping[int, str] | None = None,
        keys: str | Path | None = None,
        client_key: str | Path | None = None,
        settings: Settings | None = None,
    ) -> None:
        """`hosts` names the resource that pins each member, by id. Needs a connection to Ray (`ray.init`).

        Data are in `data_root/NAME/ID` of each host. Where no endpoints are given, members listen at their
        host's address, at port 7000 plus their id. Beyond loopback they need `keys`, a directory with
        `n1.toml` and so on, which each host has; programs need `client_key`, a file.
        """
        if not hosts:
            raise GroupError("a group needs at least one host: hosts={1: 'host-a', 2: 'host-b', 3: 'host-c'}")
        self.name = name
        self.hosts = dict(hosts)
        self._data_root = Path(data_root)
        self.endpoints = dict(endpoints) if endpoints is not None else {}
        self._keys = None if keys is None else Path(keys)
        self._client_key = client_key
        self._settings: Settings = {} if settings is None else settings

    def ensure(self) -> None:
        """Let all members run: make the actors that there are not yet. Idempotent, and quick if they run.

        A new group's directories are made. If some members have run and others have no data any more, that
        is a lost disk: raises GroupError, as such a member must not begin anew under its old id.
        """
        found = self._look()
        lost = sorted(node for node, at in found.items() if not at.has_run)
        is_new = len(lost) == len(found)
        missing = [node for node in self.hosts if self.handle_of(node) is None]
        if not is_new and set(lost) & set(missing):
            node = min(set(lost) & set(missing))
            raise GroupError(
                f"member {node} of {self.name} has run, and its data are not on {self.hosts[node]}: bring "
                f"its disk back, or call replace({node}, with_=ANOTHER_ID, host=...)"
            )
        if is_new:
            ray.get([self._on(node, _permit).remote(self.directory_of(node)) for node in missing])
        ray.get([self._actor(node, join=False).status.remote() for node in missing])

    def client(self, **settings: Any) -> Client:
        """A client of the cluster; see raft.client.Client."""
        if not self.endpoints.keys() >= self.hosts.keys():
            self._look()
        members = {node: self.endpoints[node] for node in self.hosts}
        return Client(members, cluster=self.name, keys=self._client_key, **settings)

    def status(self) -> dict[int, NodeStatus | None]:
        """What each member says of itself; None for one that does not answer."""
        handles = {node: self.handle_of(node) for node in self.hosts}
        asked = {node: handle.status.remote() for node, handle in handles.items() if handle is not None}
        answered, _ = ray.wait(list(asked.values()), num_returns=len(asked), timeout=STATUS_SECONDS_MAX)
        told: dict[int, NodeStatus | None] = dict.fromkeys(self.hosts)
        for node, reference in asked.items():
            if reference in answered:
                try:
                    told[node] = ray.get(reference)
                except ray.exceptions.RayError:
                    continue
        return told

    def replace(self, old: int, *, with_: int, host: str, endpoint: str = "") -> dict[int, str]:
        """Let a new member on `host` take the place of `old` for good; the new hosts, for the caller to keep.

        The new one catches up first, then both change places at once. Raises GroupError for ids that cannot
        be, and what the client raises if the members do not agree; then call it again.
        """
        if old not in self.hosts:
            raise GroupError(f"{self.name} has no member {old}: there are {sorted(self.hosts)}")
        if with_ in self.hosts:
            raise GroupError(f"{self.name} has a member {with_} already; an id is used once and never again")
        self.hosts[with_] = host
        if endpoint:
            self.endpoints[with_] = endpoint
        try:
            self._let_in(old, with_)
        except BaseException:
            del self.hosts[with_]
            raise
        if (handle := self.handle_of(old)) is not None:
            ray.kill(handle, no_restart=True)
        del self.hosts[old]
        return dict(self.hosts)

    def _let_in(self, old: int, new: int) -> None:
        self._look()
        ray.get(self._on(new, _permit).remote(self.directory_of(new)))
        ray.get(self._actor(new, join=True).status.remote())
        with self.client(timeout_seconds=60.0) as client:
            members = client.members()
            if new not in members.voters:
                client.replace_member(old, new, self.endpoints[new])

    # -- Ray --------------------------------------------------------------------------------------

    def _look(self) -> dict[int, Found]:
        asked = [self._on(node, _look).remote(self.directory_of(node)) for node in self.hosts]
        found = dict(zip(self.hosts, ray.get(asked), strict=True))
        for node, at in found.items():
            self.endpoints.setdefault(node, f"tcp://{at.address}:{PORT + node}")
        return found

    def handle_of(self, node: int) -> Any:
        """The Ray actor that is a node; None if there is none."""
        try:
            return ray.get_actor(self._actor_name(node), namespace=self._namespace)
        except ValueError:
            return None

    def _actor(self, node: int, *, join: bool) -> Any:
        settings: Settings = {
            **self._settings,
            "peers": {peer: at for peer, at in self.endpoints.items() if peer in self.hosts and peer != node},
            "cluster": self.name,
            "join": join,
        }
        if self._keys is not None:
            settings["keys"] = str(self._keys / f"n{node}.toml")
        plan = MemberPlan(
            node=node, endpoint=self.endpoints[node], data_dir=self.directory_of(node), settings=settings
        )
        options = ray.remote(Member).options(
            name=self._actor_name(node), namespace=self._namespace, lifetime="detached", get_if_exists=True,
            max_restarts=-1, max_task_retries=0, num_cpus=0, resources={self.hosts[node]: SHARE},
        )  # fmt: skip
        return options.remote(plan)

    def _on(self, node: int, function: Any) -> Any:
        return ray.remote(function).options(num_cpus=0, resources={self.hosts[node]: SHARE})

    def _actor_name(self, node: int) -> str:
        return f"{self.name}-n{node}"

    def directory_of(self, node: int) -> str:
        """The node's data directory on its host."""
        return str(self._data_root / self.name / str(node))

    @property
    def _namespace(self) -> str:
        return "raft"


def _look(directory: str) -> Found:
    """On a member's host: where it is, and whether the member has run there."""
    return Found(ray.util.get_node_ip_address(), (Path(directory) / INCARNATION).exists())


def _permit(directory: str) -> None:
    """On a member's host: make the directory of a member that has never run."""
    Path(directory).parent.mkdir(parents=True, exist_ok=True)
    permit_first_start(Path(directory))
