"""Reading the list of allowed keys again while a node runs.

Owns the actor that does it when the process is told to (SIGHUP), and what is logged of it. A list that cannot
be read changes nothing: the one before stays in force. The node's own key pair is taken at its start only.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Final, Protocol

from msgspec import Struct

from actors.actor import Actor, Handlers
from actors.transport import curve
from actors.transport.curve import Keys, KeysError
from raft.node.process.roles import Permissions, check_roles

KEYS_ACTOR: Final = "keys"


class ReadKeys(Struct, frozen=True):
    """Read the keys again."""


class KeyedTransport(Protocol):
    """A transport that hears only those whose keys are allowed."""

    def allow(self, keys: Keys) -> frozenset[str]:
        """Hear these from now on; returns the names of those who are not heard any more."""
        ...


class KeyReader(Actor):
    """Hosted beside a node; `tell` logs an event and a text. Without a key file there is nothing to read."""

    def __init__(
        self, path: str, transport: KeyedTransport, permissions: Permissions, tell: Callable[[str, str], None]
    ) -> None:
        self._path = path
        self._permissions = permissions
        self._transport = transport
        self._tell = tell

    def on_read(self, _: ReadKeys) -> None:
        """Take the list as it is now."""
        if not self._path:
            self._tell("keys-none", "this process has no keys to read again")
            return
        try:
            keys = check_roles(curve.load(Path(self._path)))
        except KeysError as error:
            self._tell("keys-refused", f"the keys stay as they were: {error}")
            return
        gone = self._transport.allow(keys)
        self._permissions.follow(keys)
        removed = f"; not heard any more: {', '.join(sorted(gone))}" if gone else ""
        self._tell("keys-read", f"{len(keys.allowed)} keys are allowed{removed}")

    handlers: ClassVar[Handlers] = {ReadKeys: on_read}
