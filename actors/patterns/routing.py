"""Which of several actors gets a message: by turns, the one with the least to do, or by a key.

Owns the choice, and the count of what each has in its hands by way of this router. Works for the actor that
made it, in its process: no message takes a detour. Knows nothing of how the actors are started (see pool),
or of how it is known who they are: its user says so, as when a group has changed.
"""

from __future__ import annotations

import enum
from bisect import bisect
from collections.abc import Callable, Iterable
from hashlib import blake2b
from itertools import count
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from actors.address import Address
from actors.asks import Pending
from actors.errors import NoWorkers, Undeliverable
from actors.handlers import Request
from actors.retry import Attempts

if TYPE_CHECKING:
    from actors.context import Context
    from actors.retry import Asker
    from actors.runtime import Runtime

Answer = TypeVar("Answer")
POINTS_OF_EACH: Final = 64
"""On the ring of consistent hashing: with so many, no member has much more than its share."""


class Routing(enum.StrEnum):
    """How a router chooses."""

    ROUND_ROBIN = "round robin"
    LEAST_LOADED = "least loaded"  # the fewest asks open, by way of this router
    CONSISTENT_HASH = "consistent hash"  # the same key, the same member, for as long as it is one


class Router:
    """Several actors as if they were one, for the actor or program that made it."""

    def __init__(
        self,
        owner: Context | Runtime,
        members: Iterable[Address] = (),
        routing: Routing = Routing.ROUND_ROBIN,
        *,
        name: str = "the router",
        is_up: Callable[[Address], bool] | None = None,
    ) -> None:
        """Members of which `is_up` says that they cannot be reached now are passed over."""
        self._asker: Asker = owner.asker()
        self._routing = routing
        self._name = name
        self._is_up = is_up
        self._turn = count()
        self._ring: list[tuple[int, Address]] = []
        self._loads: dict[Address, int] = {}
        self._draining: dict[Address, Callable[[], None]] = {}
        self.members: tuple[Address, ...] = ()
        self.update(members)

    def update(self, members: Iterable[Address]) -> None:
        """Choose among these from now on."""
        self.members = tuple(dict.fromkeys(members))
        if self._routing is Routing.CONSISTENT_HASH:
            self._ring = sorted(
                (_point(f"{member} {number}"), member)
                for member in self.members
                for number in range(POINTS_OF_EACH)
            )

    def drain(self, member: Address, drained: Callable[[], None]) -> None:
        """Choose a member no more, and call back once all that it was asked has ended."""
        self.update(other for other in self.members if other != member)
        if self._loads.get(member):
            self._draining[member] = drained
        else:
            drained()

    def load(self, member: Address) -> int:
        """How many asks it has in its hands, by way of this router."""
        return self._loads.get(member, 0)

    def choose(self, key: str | bytes | None = None) -> Address:
        """The member for the next message; raises NoWorkers, or Undeliverable while none can be reached."""
        members = self.members
        if not members:
            raise NoWorkers(f"{self._name} has no members, so that nothing can be told or asked")
        if self._routing is Routing.CONSISTENT_HASH:
            return self._by_key(key)
        if self._is_up is not None:
            members = tuple(filter(self._is_up, members)) or ()
            if not members:
                raise Undeliverable(f"none of the {len(self.members)} members of {self._name} can be reached")
        turn = next(self._turn)
        if self._routing is Routing.LEAST_LOADED:
            fewest = min(self._loads.get(member, 0) for member in members)
            members = tuple(member for member in members if self._loads.get(member, 0) == fewest)
        return members[turn % len(members)]

    def tell(self, message: object, *, key: str | bytes | None = None) -> Address:
        """Tell one of them; returns which."""
        member = self.choose(key)
        self._asker.tell(member, message)
        return member

    def tell_all(self, message: object) -> int:
        """Tell each of them; returns how many there are."""
        for member in self.members:
            self._asker.tell(member, message)
        return len(self.members)

    @overload
    def ask(
        self,
        message: Request[Answer],
        timeout_seconds: float | None,
        *,
        key: str | bytes | None = None,
        retries: int = 0,
    ) -> Pending[Answer]: ...
    @overload
    def ask(
        self,
        message: object,
        timeout_seconds: float | None,
        *,
        key: str | bytes | None = None,
        retries: int = 0,
    ) -> Pending[Any]: ...
    def ask(
        self,
        message: object,
        timeout_seconds: float | None,
        *,
        key: str | bytes | None = None,
        retries: int = 0,
    ) -> Pending[Any]:
        """Ask one of them; fails as Context.ask does, and with NoWorkers when there is none.

        What never reached one is asked of another. What one had in its hands when it went down fails with
        TargetDown, unless `retries` says how often it may be done again: perhaps for the second time.
        """
        if self._routing is Routing.CONSISTENT_HASH:
            _check_key(key)

        def choose() -> Address:
            member = self.choose(key)
            self._loads[member] = self._loads.get(member, 0) + 1
            return member

        attempts = Attempts(
            self._asker, message, timeout_seconds, choose=choose, retries=retries, ended=self._ended
        )
        return attempts.pending

    def _ended(self, member: Address) -> None:
        load = self._loads[member] - 1
        if load:
            self._loads[member] = load
            return
        del self._loads[member]
        drained = self._draining.pop(member, None)
        if drained is not None:
            drained()

    def _by_key(self, key: str | bytes | None) -> Address:
        at = bisect(self._ring, (_point(_check_key(key)), self.members[0]))
        member = self._ring[at % len(self._ring)][1]
        if self._is_up is not None and not self._is_up(member):
            raise Undeliverable(f"{member}, to which the key {key!r} belongs, cannot be reached")
        return member


def _check_key(key: str | bytes | None) -> str | bytes:
    if key is None:
        raise ValueError("a router by consistent hash needs a key: ask(message, timeout_seconds, key=...)")
    return key


def _point(key: str | bytes) -> int:
    data = key.encode() if isinstance(key, str) else key
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")
