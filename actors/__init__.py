"""Actors: private state behind a mailbox, in this process or in another one.

An actor is told things and tells others; it runs one message at a time on one thread, is
addressed by a value that can be sent, is watched, and is restarted by what started it.
Delivery is at most once, and in order per live pair. Knows nothing of what is built on it.

A name is imported when it is first asked for: a program that only starts processes (see processes) does
not wait for all the rest.
"""

import importlib

TYPE_CHECKING = False  # Type checkers take it for typing's.
if TYPE_CHECKING:
    from actors.actor import Actor, Handlers
    from actors.address import Address
    from actors.asks import Pending, Reply
    from actors.clock import Clock, ManualClock, MonotonicClock
    from actors.codec import Registry
    from actors.context import Context
    from actors.envelope import (
        ActorInfo,
        Exit,
        GroupChanged,
        HostChanged,
        Inspect,
        MonitorHosts,
        NameChanged,
        ProcessDown,
        ProcessInfo,
        ProcessUp,
        Terminated,
        Undelivered,
    )
    from actors.failures.crash_reports import CrashReport
    from actors.failures.dead_letters import DeadLetter, DeadLetters
    from actors.failures.supervision import Backoff, Restart, RestartPolicy, Strategy
    from actors.handlers import Request, answers, handles
    from actors.mailbox import MailboxPolicy, Overflow
    from actors.patterns.directory import Directory
    from actors.patterns.flow import Outlet, Pipeline
    from actors.patterns.pool import Pool
    from actors.patterns.routing import Router, Routing
    from actors.processes.hosts import Host
    from actors.processes.system import ProcessSystem
    from actors.runtime import Runtime
    from actors.timers import Timer
    from actors.transport.base import Transport

_HOMES = {
    "Actor": "actors.actor",
    "ActorInfo": "actors.envelope",
    "Address": "actors.address",
    "answers": "actors.handlers",
    "Backoff": "actors.failures.supervision",
    "Clock": "actors.clock",
    "Context": "actors.context",
    "CrashReport": "actors.failures.crash_reports",
    "DeadLetter": "actors.failures.dead_letters",
    "DeadLetters": "actors.failures.dead_letters",
    "Directory": "actors.patterns.directory",
    "Exit": "actors.envelope",
    "GroupChanged": "actors.envelope",
    "Handlers": "actors.actor",
    "handles": "actors.handlers",
    "Host": "actors.processes.hosts",
    "HostChanged": "actors.envelope",
    "Inspect": "actors.envelope",
    "MailboxPolicy": "actors.mailbox",
    "ManualClock": "actors.clock",
    "MonitorHosts": "actors.envelope",
    "MonotonicClock": "actors.clock",
    "NameChanged": "actors.envelope",
    "Outlet": "actors.patterns.flow",
    "Overflow": "actors.mailbox",
    "Pending": "actors.asks",
    "Pipeline": "actors.patterns.flow",
    "Pool": "actors.patterns.pool",
    "ProcessDown": "actors.envelope",
    "ProcessInfo": "actors.envelope",
    "ProcessSystem": "actors.processes.system",
    "ProcessUp": "actors.envelope",
    "Registry": "actors.codec",
    "Reply": "actors.asks",
    "Request": "actors.handlers",
    "Restart": "actors.failures.supervision",
    "RestartPolicy": "actors.failures.supervision",
    "Router": "actors.patterns.routing",
    "Routing": "actors.patterns.routing",
    "Runtime": "actors.runtime",
    "Strategy": "actors.failures.supervision",
    "Terminated": "actors.envelope",
    "Timer": "actors.timers",
    "Transport": "actors.transport.base",
    "Undelivered": "actors.envelope",
}

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
    "Directory",
    "Exit",
    "GroupChanged",
    "Handlers",
    "Host",
    "HostChanged",
    "Inspect",
    "MailboxPolicy",
    "ManualClock",
    "MonitorHosts",
    "MonotonicClock",
    "NameChanged",
    "Outlet",
    "Overflow",
    "Pending",
    "Pipeline",
    "Pool",
    "ProcessDown",
    "ProcessInfo",
    "ProcessSystem",
    "ProcessUp",
    "Registry",
    "Reply",
    "Request",
    "Restart",
    "RestartPolicy",
    "Router",
    "Routing",
    "Runtime",
    "Strategy",
    "Terminated",
    "Timer",
    "Transport",
    "Undelivered",
    "answers",
    "handles",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)
