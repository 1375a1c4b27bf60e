"""What each command of an interaction transcript does.

Owns the table from name to handler, and the handlers that ask something of one node or change the network.
Those that move Readies and messages are `delivery`'s, `add-nodes` is `creation`'s.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress

from raft.core.changes import ConfChange
from raft.core.errors import RaftError
from raft.core.messages import InstallSnapshot
from raft.core.types import NO_LIMIT, Entry, EntryKind
from tests.transcripts.conf_changes import parse_changes, proposal
from tests.transcripts.creation import add_nodes
from tests.transcripts.delivery import (
    deliver_messages,
    process_append_thread,
    process_apply_thread,
    process_ready,
    stabilize,
)
from tests.transcripts.describe import ROLES, entry_lines, message_text, progress_lines
from tests.transcripts.environment import Environment
from tests.transcripts.faults import FAILURES, CommandFailed, sentence
from tests.transcripts.node import Node
from tests.transcripts.parser import Directive, to_number

Handler = Callable[[Environment, Directive], None]


def run(env: Environment, directive: Directive) -> str:
    """The whole answer of one command."""
    handler = HANDLERS.get(directive.command, _unknown)
    failure = ""
    try:
        handler(env, directive)
    except FAILURES as error:
        failure = sentence(error)
    return env.output.take() + failure or "ok"


def _unknown(env: Environment, directive: Directive) -> None:
    raise CommandFailed("unknown command")


def _node(env: Environment, directive: Directive) -> Node:
    return env.node(to_number(directive.words[0]))


def _log_level(env: Environment, directive: Directive) -> None:
    env.output.set_level(directive.words[0])


def _campaign(env: Environment, directive: Directive) -> None:
    _node(env, directive).core.campaign()


def _tick_election(env: Environment, directive: Directive) -> None:
    node = _node(env, directive)
    for _ in range(node.options.election_ticks):
        node.core.tick()


def _tick_heartbeat(env: Environment, directive: Directive) -> None:
    node = _node(env, directive)
    for _ in range(node.options.heartbeat_ticks):
        node.core.tick()


def _set_randomized_election_timeout(env: Environment, directive: Directive) -> None:
    _node(env, directive).core.randomized_election_ticks = directive.numbers("timeout")[0]


def _propose(env: Environment, directive: Directive) -> None:
    data = directive.words[1].encode()
    _node(env, directive).core.propose(data.ljust(directive.number("size", 0), b"."))


def _propose_conf_change(env: Environment, directive: Directive) -> None:
    transition = (*directive.values("transition"), "auto")[0]
    change = proposal(parse_changes(directive.input), transition, directive.switch("v1"))
    kind = EntryKind.CONF_CHANGE if isinstance(change, ConfChange) else EntryKind.CONF_CHANGE_V2
    _node(env, directive).propose_entry(Entry(0, 0, kind, change.encode()))


def _read_index(env: Environment, directive: Directive) -> None:
    with suppress(RaftError):
        _node(env, directive).core.read_index(directive.words[1].encode())


def _transfer_leadership(env: Environment, directive: Directive) -> None:
    with suppress(RaftError):
        env.node(directive.numbers("from")[0]).core.transfer_leader(directive.numbers("to")[0])


def _forget_leader(env: Environment, directive: Directive) -> None:
    with suppress(RaftError):
        _node(env, directive).core.forget_leader()


def _report_unreachable(env: Environment, directive: Directive) -> None:
    with suppress(RaftError):
        _node(env, directive).core.report_unreachable(directive.ids[1])


def _report_snapshot(env: Environment, directive: Directive) -> None:
    with suppress(RaftError):
        _node(env, directive).core.report_snapshot(directive.ids[1], not directive.switch("failed"))


def _send_snapshot(env: Environment, directive: Directive) -> None:
    node = _node(env, directive)
    message = InstallSnapshot(node.id, directive.ids[1], node.core.term, node.storage.snapshot())
    env.network.send(message)
    env.output.write(message_text(message))


def _compact(env: Environment, directive: Directive) -> None:
    node = _node(env, directive)
    node.storage.compact(directive.ids[1])
    _print_log(env, node)


def _restart(env: Environment, directive: Directive) -> None:
    node = _node(env, directive)
    env.network.forget_local(node.id)
    node.restart()


def _duplicate_messages(env: Environment, directive: Directive) -> None:
    if not env.network.duplicate(directive.ids[0]):
        env.output.line("no messages")


def _reverse_messages(env: Environment, directive: Directive) -> None:
    if not env.network.reverse(directive.ids[0]):
        env.output.line("no messages")


def _status(env: Environment, directive: Directive) -> None:
    env.output.write(progress_lines(_node(env, directive).core.status().progress))


def _raft_log(env: Environment, directive: Directive) -> None:
    _print_log(env, _node(env, directive))


def _print_log(env: Environment, node: Node) -> None:
    first, last = node.storage.first_index(), node.storage.last_index()
    if last < first:
        env.output.write(f"log is empty: first index={first}, last index={last}")
    else:
        env.output.write(entry_lines(node.storage.entries(first, last + 1, NO_LIMIT)))


def _raft_state(env: Environment, directive: Directive) -> None:
    for node in env.nodes.values():
        status = node.core.status()
        voters = {*status.configuration.voters, *status.configuration.voters_outgoing}
        membership = "(Voter)" if node.id in voters else "(Non-Voter)"
        role, leader = ROLES[status.soft_state.role], status.soft_state.leader
        env.output.line(f"{node.id}: {role} {membership} Term:{status.hard_state.term} Lead:{leader}")


HANDLERS: Mapping[str, Handler] = {
    "add-nodes": add_nodes,
    "campaign": _campaign,
    "compact": _compact,
    "deliver-msgs": deliver_messages,
    "duplicate-msgs": _duplicate_messages,
    "forget-leader": _forget_leader,
    "log-level": _log_level,
    "process-append-thread": process_append_thread,
    "process-apply-thread": process_apply_thread,
    "process-ready": process_ready,
    "propose": _propose,
    "propose-conf-change": _propose_conf_change,
    "raft-log": _raft_log,
    "raft-state": _raft_state,
    "read-index": _read_index,
    "report-snapshot": _report_snapshot,
    "report-unreachable": _report_unreachable,
    "restart": _restart,
    "reverse-msgs": _reverse_messages,
    "send-snapshot": _send_snapshot,
    "set-randomized-election-timeout": _set_randomized_election_timeout,
    "stabilize": stabilize,
    "status": _status,
    "tick-election": _tick_election,
    "tick-heartbeat": _tick_heartbeat,
    "transfer-leadership": _transfer_leadership,
}
