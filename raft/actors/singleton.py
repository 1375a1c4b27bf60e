"""An actor that runs in exactly one process of a cluster, and elsewhere when that one dies.

Owns the way there (Akka's ClusterSingletonManager): each process that may run the actor has one
Singleton, which stands for election, starts the actor when it is elected, and stops it before another one
can be. A process that stood still for longer than its lease wakes up with an actor that is not the only
one any more: so what the actor writes carries its token, and whatever it writes to turns down what is
older.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

from actors import Actor, Address, ProcessSystem, Terminated, handles
from actors.processes.child_main import convert_arguments, name_class, resolve_class
from raft.actors.registry import PREFIX
from raft.client import AsyncClient, AsyncLead, Backoff, ClientError, LeadershipLost
from raft.durations import Duration, seconds_of

CHILD = "singleton"


class Singleton(Actor):
    """Runs `actor` (a "package.module:Class") for as long as this process is the elected one.

    The class is called with `lead`, its leadership: `lead.token` and `lead.fence` are for what it writes
    to, `lead.check()` raises unless it leads for certain. `arguments` follow. It is a child of this
    actor: one that crashes is restarted in place; one that gives up, or stops itself, lets another
    process have its turn. While it runs its address is known under `name` in the directory of its system,
    and in the cluster (NameRegistry).
    """

    def __init__(
        self,
        name: str,
        actor: str,
        nodes: dict[int, str],
        arguments: Mapping[str, Any] | None = None,
        cluster: str = "default",
        keys: str | None = None,
        ttl_seconds: float = 5.0,
    ) -> None:
        """`nodes` are the endpoints of the Raft cluster, `keys` this client's key file, where it has keys."""
        self._name = name
        self._actor: type[Actor] = resolve_class(actor)
        self._arguments = convert_arguments(self._actor, arguments or {})
        self._nodes = nodes
        self._cluster = cluster
        self._keys = keys
        self._ttl_seconds = ttl_seconds
        self._ended = asyncio.Event()
        self._stopped = False

    def on_start(self) -> None:
        """Stand for election from now on."""
        self.context.create_task(self._campaign())

    def on_stop(self) -> None:
        """Children have ended by now, the actor too; a later incarnation has others."""
        self._stopped = True

    @handles(Terminated)
    def on_terminated(self, terminated: Terminated) -> None:
        """The actor has ended for good, and not for the want of a leadership."""
        del terminated
        self._ended.set()

    async def _campaign(self) -> None:
        address = Address(self.context.address.process, f"{self.context.address.actor}/{CHILD}")
        backoff = Backoff()
        async with AsyncClient(self._nodes, cluster=self._cluster, keys=self._keys) as client:
            election = client.election(PREFIX + self._name, ttl=self._ttl_seconds, value=str(address))
            while True:
                try:
                    await election.run(self._lead)
                    backoff.reset()
                except ClientError as error:
                    if not (isinstance(error, LeadershipLost) or error.retry_is_safe):
                        raise
                await backoff.wait()

    async def _lead(self, lead: AsyncLead) -> None:
        self._ended.clear()
        make = partial(self._actor, lead=lead, **self._arguments)  # type: ignore[call-arg]
        child = self.context.spawn(make, CHILD)
        self.context.watch(child)
        try:
            await self._ended.wait()
        finally:
            if not self._ended.is_set() and not self._stopped:
                self.context.unwatch(child)
                self.context.stop(child)


def spawn_singleton(
    system: ProcessSystem,
    process: str,
    name: str,
    actor: type[Actor],
    *,
    nodes: Mapping[int, str],
    arguments: Mapping[str, Any] | None = None,
    cluster: str = "default",
    keys: str | None = None,
    ttl: Duration = "5s",
    connect: tuple[str, ...] = (),
) -> Address:
    """Start a process that may run `actor`, the one of that name in the cluster; see Singleton.

    Do so in the system of each host. The address is that of the process's Singleton; the actor's own is found
    by a NameRegistry. Raises ActorsError for an actor that its process would not find.
    """
    called_with = {
        "name": name,
        "actor": name_class(actor),
        "nodes": dict(nodes),
        "arguments": dict(arguments or {}),
        "cluster": cluster,
        "keys": keys,
        "ttl_seconds": seconds_of(ttl),
    }
    return system.spawn_process(Singleton, process, arguments=called_with, connect=connect)
