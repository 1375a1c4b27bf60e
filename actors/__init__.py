"""Actors: private state behind a mailbox, in this process or in another one.

An actor is told things and tells others; it runs one message at a time on one thread, is
addressed by a value that can be sent, is watched, and is restarted by whoever started it.
Delivery is at most once, and in order per live pair. Knows nothing of what is built on it.
"""

from actors.actor import Actor, Handlers
from actors.address import Address
from actors.asks import Pending, Reply
from actors.clock import Clock, ManualClock, MonotonicClock
from actors.codec import Registry
from actors.context import Context
from actors.crashes import CrashReport
from actors.dead_letters import DeadLetter, DeadLetters
from actors.envelope import ActorInfo, Inspect, ProcessDown, ProcessUp, Terminated
from actors.mailbox import MailboxPolicy, Overflow
from actors.runtime import Runtime
from actors.supervision import Backoff, Restart, RestartPolicy, Strategy
from actors.timers import Timer
from actors.transport import Transport

__all__ = [
    "Actor",
    "ActorInfo",
    "Address",
    "Backoff",
    "Clock",
    "Context",
    "CrashReport",
    "DeadLetter",
    "DeadLetters",
    "Handlers",
    "Inspect",
    "MailboxPolicy",
    "ManualClock",
    "MonotonicClock",
    "Overflow",
    "Pending",
    "ProcessDown",
    "ProcessUp",
    "Registry",
    "Reply",
    "Restart",
    "RestartPolicy",
    "Runtime",
    "Strategy",
    "Terminated",
    "Timer",
    "Transport",
]
