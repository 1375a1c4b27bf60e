"""A node as a process: from its configuration to its exit code.

Owns what belongs to the process and not to the actor: the order of opening (the data directory's lock
before the socket), the log file, signals, the life pipe, and the incarnation number. Knows nothing of
what the node decides.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from actors.address import Address
from actors.clock import MonotonicClock
from actors.errors import GaveUp, TransportError
from actors.failures.supervision import RestartPolicy
from actors.processes.descriptors import raise_descriptor_limit
from actors.processes.repeated import Repeated
from actors.runtime import Runtime
from actors.transport import curve
from actors.transport.base import Transport
from actors.transport.endpoints import is_deserted
from actors.transport.zeromq import ZeroMqTransport
from raft.core.errors import MajorityRolledBack, RolledBack
from raft.machines.application import Application
from raft.machines.machine import Diverged, MachineError, StateMachine, WrongVersion, version_of
from raft.node.config import (
    EXIT_BROKEN_PROMISE,
    EXIT_CORRUPT,
    EXIT_DISK_FAILED,
    EXIT_DIVERGED,
    EXIT_FAILED,
    EXIT_LOG_MISSING,
    EXIT_OUT_OF_MEMORY,
    EXIT_REFUSED,
    EXIT_REMOVED,
    EXIT_ROLLED_BACK,
    EXIT_WRONG_VERSION,
    IMPORTING,
    BadConfig,
    NodeConfig,
    StartedWhileImported,
)
from raft.node.environment import NodeEnvironment, core_config
from raft.node.local import Leave
from raft.node.log_writer import DiskFailed
from raft.node.members.handshakes import IncarnationAlreadyUsed
from raft.node.members.versions import check_version
from raft.node.node import Node
from raft.node.process.allowed_keys import KEYS_ACTOR, KeyReader, ReadKeys
from raft.node.process.data_dir import (
    INCARNATION,
    JOINED,
    RECOVERED,
    RESTORED,
    count_incarnation,
    end_repair,
    note_incarnation,
    open_store,
    repair_of,
)
from raft.node.process.endings import PledgeFile, SystemEndings
from raft.node.process.log import NodeLog, last_words
from raft.node.process.readiness import Readiness, is_wanted, notify
from raft.node.process.repair import CannotRejoin, Promotion, rejoin
from raft.node.process.roles import Permissions, check_roles
from raft.node.process.trace import TraceFile
from raft.node.requests.relay import Relay
from raft.node.worker import ThreadWorker
from raft.protocol.registry import NODE_ACTOR, REGISTRY, RELAY_ACTOR, SUPERVISOR, address_of, process_of
from raft.storage.device import CrashPoint
from raft.storage.errors import CorruptLog, LogMissing, LogRolledBack, StoreError, StoreFailed
from raft.storage.files import FileSystem, RealFiles
from raft.storage.store import Store

if TYPE_CHECKING:
    from raft.node.process.fault_injection import Injection

# The loop and the disk's thread take turns at the interpreter; the default, 5 ms, is many fsyncs long.
SWITCH_SECONDS = 0.0005
LISTEN_AGAIN_SECONDS = 2.0


def main(argument: bytes, life_fd: int = -1) -> int:
    """Run a node until it is told to stop; `argument` is an encoded NodeConfig.

    Returns the exit code: 0 after a graceful stop, else one of those that the configuration's module names.
    """
    raise_descriptor_limit()
    try:
        if not __debug__:
            raise BadConfig("this interpreter skips assertions (python -O), on which a node's safety rests")
        config = NodeConfig.decode(argument).check()
        core_config(config, applied=0)  # What cannot work is refused before anything is made.
        removed = run(config, life_fd)
    except (BadConfig, StoreError, TransportError, CannotRejoin) as error:
        last_words(f"the node cannot start: {error}\n")
        return refusal_code(error)
    except DiskFailed as error:
        last_words(f"the node has stopped: {error}\n")
        return EXIT_DISK_FAILED
    except Diverged as error:
        last_words(f"the node has stopped: {error}\n")
        return EXIT_DIVERGED
    except WrongVersion as error:
        last_words(f"the node cannot run: {error}\n")
        return EXIT_WRONG_VERSION
    except MachineError as error:
        last_words(f"the node cannot take the cluster's state over: {error}\n")
        return EXIT_REFUSED
    except RolledBack as error:
        last_words(f"the node has stopped: {error}\n")
        # The next process repairs it, if it may.
        return EXIT_DISK_FAILED if config.repair_from_peers else EXIT_ROLLED_BACK
    except MajorityRolledBack as error:
        last_words(f"the node has stopped: {error}\n")
        return EXIT_BROKEN_PROMISE
    except MemoryError:
        last_words(OUT_OF_MEMORY)
        return EXIT_OUT_OF_MEMORY
    except (GaveUp, IncarnationAlreadyUsed) as error:
        last_words(f"the node has failed: {error}\n")
        return EXIT_FAILED
    return EXIT_REMOVED if removed else 0


def refusal_code(error: Exception) -> int:
    """The exit code of a node that could not start."""
    match error:
        case CorruptLog():
            return EXIT_CORRUPT
        case LogMissing():
            return EXIT_LOG_MISSING
        case LogRolledBack():
            return EXIT_ROLLED_BACK
        case StoreFailed():
            return EXIT_DISK_FAILED
        case CannotRejoin():
            return EXIT_FAILED
    return EXIT_REFUSED


def run(config: NodeConfig, life_fd: int) -> bool:
    """Open everything, run the loop to its end, close everything; whether the node was removed.

    Raises what forbids a start, and DiskFailed, Diverged, WrongVersion or GaveUp when the node has failed.
    """
    machine, injection = load_machine(config.machine), load_injection(config)
    files: FileSystem = injection.files if injection is not None else RealFiles()
    # Its lock comes first: of two processes on the same data only one ever listens.
    store = open_checked(config, files, injection.trap if injection is not None else pass_by, machine)
    try:
        note = Path(config.data_dir) / INCARNATION
        incarnation = config.incarnation or count_incarnation(note, sync=config.sync)
        random, log = Random(config.seed or None), NodeLog(config, incarnation)
        zeromq, permissions = open_transport(config, incarnation, log)
        transport = injection.around(zeromq, random, config.links) if injection else zeromq
        runtime = Runtime(
            process_of(config.node),
            transport=transport,
            registry=REGISTRY,
            clock=injection.clock if injection is not None else MonotonicClock(),
            random=random,
            # A node that has failed starts again from disk, as a new process, or not at all.
            supervision=RestartPolicy(max_restarts=0),
            on_crash=log.crashes.report,
            judges=permissions if config.keys else None,
        )
        environment = NodeEnvironment(
            config=config,
            incarnation=incarnation,
            store=store,
            machine=machine,
            random=random,
            journal=log,
            log_lines=log.lines,
            disk_worker=partial(ThreadWorker, "disk"),
            apply_worker=partial(ThreadWorker, "own machine") if config.machine else None,
            snapshot_worker=partial(ThreadWorker, "snapshot"),
            observer=open_trace(config.trace),
            faults=injection,
            counters=lambda: {**transport.counters, **runtime.dead_letters.counts, **permissions.refused},
            traffic=zeromq.traffic,
            note_incarnation=partial(note_incarnation, note, sync=config.sync),
            leave=runtime.stop,
            is_deserted=is_deserted,
            pid=os.getpid(),
            endings=SystemEndings(),
            pledges=PledgeFile(Path(config.data_dir)),
            true_now=time.monotonic,
        )
        node = log.node = Node(environment)
        spawn_all(runtime, node, config, zeromq, permissions, log)
        obey_signals(runtime, config.node)
        end_with_launcher(runtime, transport, life_fd)
        keep_what_is_there()
        runtime.run()
        return node.removed
    except GaveUp as error:
        raise log.crashes.verdict(error, Path(config.data_dir)) from error
    finally:
        store.close()


def open_checked(config: NodeConfig, files: FileSystem, trap: CrashPoint, machine: Application) -> Store:
    """See `open_store`; raises WrongVersion, too, if what is there needs a newer machine."""
    store = open_store(config, files, trap, rejoin)
    try:
        check_version(store, machine)
    except WrongVersion:
        store.close()
        raise
    return store


def load_injection(config: NodeConfig) -> Injection | None:
    """The parts that can be broken on purpose, if the node was started for it; else they are not loaded."""
    if not config.fault_injection:
        return None
    module = importlib.import_module("raft.node.process.fault_injection")
    if config.network_namespace:
        try:
            module.enter_network_namespace(config.network_namespace)
        except OSError as error:
            raise BadConfig(f"{config.network_namespace} cannot be entered: {error.strerror}") from None
    injection: Injection = module.Injection()
    return injection


def pass_by(_crash_point: str) -> None:
    """Nothing waits at the crash points of a node that cannot be broken."""


def spawn_all(
    runtime: Runtime,
    node: Node,
    config: NodeConfig,
    transport: ZeroMqTransport,
    permissions: Permissions,
    log: NodeLog,
) -> None:
    """The node; and who passes requests on, keeps the socket's file in place and reads keys again.

    And who says when this node is ready, and asks for a vote if it has joined its cluster anew.
    """
    runtime.spawn(lambda: node, NODE_ACTOR)
    tell_of_new_beginning(Path(config.data_dir), log)
    runtime.spawn(lambda: Relay(config.node), RELAY_ACTOR)
    runtime.spawn(lambda: Repeated(LISTEN_AGAIN_SECONDS, transport.listen_again), "listening")
    runtime.spawn(lambda: KeyReader(config.keys, transport, permissions, log.event), KEYS_ACTOR)
    if is_wanted():
        runtime.spawn(lambda: Readiness(config.node), "readiness")
    data_dir = Path(config.data_dir)
    if repair_of(data_dir) == JOINED:
        runtime.spawn(lambda: Promotion(config.node, partial(end_repair, data_dir)), "promotion")


def keep_what_is_there() -> None:
    """Settle the interpreter for a long run: what is there now stays, and need not be collected."""
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()


def open_transport(config: NodeConfig, incarnation: int, log: NodeLog) -> tuple[ZeroMqTransport, Permissions]:
    """Listen where the configuration says; and who may ask for what there."""
    keys = check_roles(curve.load(Path(config.keys))) if config.keys else None
    transport = ZeroMqTransport(
        process_of(config.node),
        incarnation,
        cluster=config.cluster,
        endpoint=config.listen,
        keys=keys,
        log=log.write,
    )
    return transport, Permissions(keys, log.event, outside_keys(config))


def outside_keys(config: NodeConfig) -> str:
    """The supervisor of a node in a network namespace, which shows no key; "" if it shows the node's."""
    return SUPERVISOR.process if config.supervisor and not config.supervisor_has_keys else ""


def open_trace(path: str) -> TraceFile | None:
    """The file that is told of every event in the core, if one is wanted; raises BadConfig."""
    try:
        return TraceFile(Path(path), time.monotonic_ns) if path else None
    except OSError as error:
        raise BadConfig(f"the trace cannot be written to {path}: {error.strerror}") from None


def load_machine(text: str) -> Application:
    """A node's machine, around a new one of the class at "package.module:Class" if that is named.

    Raises BadConfig.
    """
    if not text:
        return Application()
    # Imported here: a node without a machine of its own needs nothing of it to start.
    from raft.machines.typed import check_is_plain

    module_name, _, name = text.partition(":")
    os.environ[IMPORTING] = text  # A program that starts nodes when it is imported is refused by this.
    try:
        own = getattr(importlib.import_module(module_name), name)()
        if not isinstance(own, StateMachine):
            raise BadConfig(f"{text} is no machine: it lacks one of apply, query, snapshot, restore")
        for method in (own.apply, own.query, own.snapshot, own.restore):
            check_is_plain(method)
        version_of(own)
    except StartedWhileImported as error:
        raise BadConfig(str(error)) from None
    except SystemExit as ended:
        raise BadConfig(
            f"importing {module_name} for its machine {name} ended the program (sys.exit, {ended.code!r}): "
            "what a program does belongs behind if __name__ == '__main__'"
        ) from None
    except (ImportError, AttributeError, TypeError) as error:
        raise BadConfig(f"the machine {text} cannot be had: {error}") from error
    finally:
        del os.environ[IMPORTING]
    return Application(own)


def tell_of_new_beginning(directory: Path, log: NodeLog) -> None:
    """Say in the log that this cluster was restored or recovered: what it lacks may be looked for there."""
    for name in (RESTORED, RECOVERED):
        with contextlib.suppress(FileNotFoundError):
            record = (directory / name).read_text()
            log.event("begun-anew", f"{name} says how this cluster began: {' '.join(record.split())}")


# To skip a committed command that did not fit would give this node another state than the others have.
OUT_OF_MEMORY = (
    "the node has stopped: there is no memory left for what is committed. Nothing of it is lost, and the "
    "other members go on. Give the node more memory, or lower the quota of all (--tune quota_bytes=...) and "
    "delete; then start it again\n"
)


def obey_signals(runtime: Runtime, node: int) -> None:
    """Leave gracefully on SIGTERM and SIGINT; read the allowed keys again on SIGHUP."""

    def leave(_number: int, _frame: object) -> None:
        notify("STOPPING=1")
        runtime.post(address_of(node), Leave())

    def read_keys(_number: int, _frame: object) -> None:
        runtime.post(Address(runtime.name, KEYS_ACTOR), ReadKeys())

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    signal.signal(signal.SIGHUP, read_keys)


def end_with_launcher(runtime: Runtime, transport: Transport, life_fd: int) -> None:
    """Stop at once when the launcher, if there is one, is gone: nothing is left to hand over to."""

    def end() -> None:
        transport.remove_reader(life_fd)
        runtime.stop()

    if life_fd >= 0:
        transport.add_reader(life_fd, end)
