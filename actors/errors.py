"""What can go wrong between actors, as exceptions.

Owns the hierarchy only. A message that could not be delivered is not an exception: it is a
dead letter, counted (see dead_letters).
"""

from __future__ import annotations


class ActorsError(Exception):
    """The root of everything that this package raises on purpose."""


class BadAddress(ActorsError):
    """A process or actor name that cannot be one."""


class NameTaken(ActorsError):
    """An actor of that name lives already."""


class UnknownActor(ActorsError):
    """No actor of that name lives here."""


class CodecError(ActorsError):
    """Bytes that are not what their tag promises, or an unknown tag."""


class UnregisteredMessage(CodecError):
    """A message whose type has no tag was told to another process."""


class MessageTooBig(CodecError):
    """A message that takes more bytes than a frame to another process may have."""


class TransportError(ActorsError):
    """A transport that cannot be opened or used as asked; the message says what to do."""


class AskFailed(ActorsError):
    """The root of the ways in which an ask ends without a reply."""


class AskTimeout(AskFailed):
    """No reply within the time given. The target may or may not have acted."""


class TargetDown(AskFailed):
    """The target stopped, or its process went down, before it replied. It may or may not have acted."""


class Undeliverable(AskFailed):
    """The request never reached the target, so that asking again is safe."""


class AskRefused(AskFailed):
    """The target has answered that it will not do what it was asked; the message says why."""


class NoWorkers(Undeliverable):
    """A router, a pool or a group without members was asked."""


class LinkedActorDown(ActorsError):
    """An actor crashes because one that it is linked to has failed, or cannot be reached."""


class GaveUp(ActorsError):
    """A child failed more often than its supervisor's policy allows."""


class RuntimeStopped(ActorsError):
    """The runtime has stopped, and nothing can be started or asked in it any more."""
