"""The errors of a client, and what a program may do about them.

Owns the hierarchy. Each class answers one question: may I retry?
"""

from __future__ import annotations

from typing import ClassVar


class ClientError(Exception):
    """The root. `retry_is_safe`: a retry can have no effect beyond that of a single request."""

    retry_is_safe: ClassVar[bool] = False


class Rejected(ClientError):
    """The cluster did not take the request, and it is in no log: a retry is safe, ideally after a while."""

    retry_is_safe = True


class NoLeader(Rejected):
    """Nodes answered within the time-out, but none of them was the leader or knew it."""


class OutOfSpace(Rejected):
    """The cluster has reached its quota, and the request was not taken: delete something, then retry."""


class UnsupportedVersion(Rejected):
    """The command needs a newer version of the machine than all members have; it was not carried out.

    The text names the members that are behind. A retry is safe, and useful once they are upgraded. `needed`
    is the command's version, `agreed` the cluster's.
    """

    def __init__(self, reason: str, needed: int, agreed: int) -> None:
        super().__init__(reason)
        self.needed = needed
        self.agreed = agreed


class Unreachable(Rejected):
    """No node could be reached within the time-out."""


class OutcomeUnknown(ClientError):
    """The command was sent, then the leader was lost: it may be committed, now or later, or never.

    A retry may do it twice. Safe only for a command that has the same effect when repeated.
    """


class CommandRefused(ClientError):
    """The machine or the node refused the request for its content; a retry would be refused again."""


class NotAllowed(CommandRefused):
    """The role of this client's key does not allow that, and it did nothing; the text says what it lacks."""


class ClientClosed(ClientError):
    """The client was closed, before the request or during it."""


# -- sessions, leases and locks ------------------------------------------------------------------


class SessionExpired(ClientError):
    """The session has ended, this request did nothing, and keys attached to its lease are deleted.

    Never raised for a request with an earlier unanswered attempt: that is OutcomeUnknown. The outcome of
    earlier commands that ended unknown can no longer be found out.
    """


class LeaseEnded(ClientError):
    """The lease has ended, or never existed; the request did nothing."""


class LeadershipLost(ClientError):
    """The lease could not be kept alive in time, or another client ended it: the work was cancelled."""


def is_by_loss(error: BaseException | None, remaining_seconds: float) -> bool:
    """Was a request of some work refused because its lease had ended, as the holder may not know yet?"""
    return isinstance(error, SessionExpired | LeaseEnded | FenceRejected) and not remaining_seconds


class Taken(ClientError):
    """There is no free seat, and the candidate did not want to wait."""

    retry_is_safe = True


class FenceRejected(CommandRefused):
    """The request did nothing: its fencing token holds no seat. `holder` is a token that does, 0 if none."""

    def __init__(self, election: str, token: int, holder: int) -> None:
        of = f" of {election!r}; the present holder is {holder or 'none'}" if election else ""
        super().__init__(f"the token {token} holds no seat{of}")
        self.election = election
        self.token = token
        self.holder = holder


class EventsForgotten(ClientError):
    """Events up to `revision` are forgotten: read the state, then watch from the next revision on."""

    retry_is_safe = True

    def __init__(self, revision: int) -> None:
        super().__init__(f"the events up to revision {revision} are forgotten")
        self.revision = revision
