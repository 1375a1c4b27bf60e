"""How a request can end badly, and what may be done about it.

Owns the hierarchy. Each class answers the one question that matters: may I retry?
"""

from __future__ import annotations

from typing import ClassVar


class ClientError(Exception):
    """The root. `retry_is_safe` says whether asking again can have no effect beyond that of asking once."""

    retry_is_safe: ClassVar[bool] = False


class Rejected(ClientError):
    """The cluster did not take the request, and it is in no log: a retry is safe, at best after a while."""

    retry_is_safe = True


class NoLeader(Rejected):
    """Nodes answered within the time given, but none of them led or knew who does."""


class Unreachable(Rejected):
    """No node could be reached within the time given."""


class OutcomeUnknown(ClientError):
    """The command was sent, and its leader lost: it may be committed, now or later, or never.

    A retry may do it twice. Safe only for what has the same effect however often it is done.
    """


class CommandRefused(ClientError):
    """The machine or the node turned the request down for what it says; it would be turned down again."""


class ClientClosed(ClientError):
    """The client was closed, before or while the request was on its way."""
