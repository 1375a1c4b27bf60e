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


class OutOfSpace(Rejected):
    """The cluster holds as much as it may, and the request was not taken: delete something, then retry."""


class UnsupportedVersion(Rejected):
    """The command is newer than the version of the machine that all members have; it was not carried out.

    The text names the members that are behind. A retry is safe, and of use once they are upgraded. `needed`
    is the command's version, `agreed` the cluster's.
    """

    def __init__(self, reason: str, needed: int, agreed: int) -> None:
        super().__init__(reason)
        self.needed = needed
        self.agreed = agreed


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


# -- what is held --------------------------------------------------------------------------------


class SessionExpired(ClientError):
    """The session is no more, and nothing was done by this request; what hung on its lease is gone.

    Never said of a request of which an earlier try was not answered: that is OutcomeUnknown.

    What became of earlier commands whose outcome is unknown can't be asked any more.
    """


class LeaseEnded(ClientError):
    """The lease that the request names has ended, or never was; nothing was done."""


class LeadershipLost(ClientError):
    """The lease could not be kept alive in time, or was ended by others: the work was cancelled."""


class Taken(ClientError):
    """There is no free seat, and the candidate did not want to wait."""

    retry_is_safe = True


class FenceRejected(CommandRefused):
    """Nothing was done: the fencing token holds no seat any more. `holder` is one that does, 0 if none."""

    def __init__(self, election: str, token: int, holder: int) -> None:
        of = f" of {election!r}; {holder or 'nobody'} does" if election else ""
        super().__init__(f"the token {token} holds no seat{of}")
        self.election = election
        self.token = token
        self.holder = holder


class EventsForgotten(ClientError):
    """Events up to `revision` are forgotten: read the state, and watch from the revision after it on."""

    retry_is_safe = True

    def __init__(self, revision: int) -> None:
        super().__init__(f"the events up to revision {revision} are forgotten")
        self.revision = revision
