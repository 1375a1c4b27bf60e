"""The commands that move work along: deliver messages, handle Readies, run the storage threads, stabilize.

Owns the order in which an environment lets things happen.
"""

from collections.abc import Callable, Iterable, Sequence

from raft.core.errors import ProposalDropped, StepRefused
from raft.core.messages import Message, StorageAppend, StorageApply
from raft.core.types import NodeId
from tests.transcripts.describe import kind_name, message_text, ready_text
from tests.transcripts.environment import Environment
from tests.transcripts.faults import sentence
from tests.transcripts.network import is_local
from tests.transcripts.node import Node
from tests.transcripts.parser import Directive, to_number

Work = Callable[[Environment, Node], None]


def deliver_messages(env: Environment, directive: Directive) -> None:
    """`deliver-msgs`: to each recipient, in the order of the arguments, what was under way to it."""
    kind = (*directive.values("type"), None)[0]
    handled = False
    for argument in directive.arguments:
        if not argument.values:
            handled |= _deliver(env, to_number(argument.key), kind=kind)
        elif argument.key == "drop":
            for value in argument.values:
                handled |= _deliver(env, to_number(value), kind=kind, drop=True)
    if not handled:
        env.output.line("no messages")


def _deliver(env: Environment, to: NodeId, *, kind: str | None = None, drop: bool = False) -> bool:
    """Deliver or drop what is under way to one node. False if nothing is."""

    def wanted(message: Message) -> bool:
        lost_alone = drop and is_local(message)
        return message.to == to and not lost_alone and kind in (None, kind_name(message))

    messages = env.network.take(wanted)
    for message in messages:
        env.output.line(f"{'dropped: ' if drop else ''}{message_text(message)}")
        if not drop:
            _step(env, message)
    return bool(messages)


def _step(env: Environment, message: Message) -> None:
    try:
        env.node(message.to).core.step(message)
    except (StepRefused, ProposalDropped) as refused:
        env.output.line(sentence(refused))


def process_ready(env: Environment, directive: Directive) -> None:
    """`process-ready`."""
    _process(env, directive.ids, "handling Ready", _handle_ready)


def process_append_thread(env: Environment, directive: Directive) -> None:
    """`process-append-thread`."""
    _process(env, directive.ids, "processing append thread", _run_append_thread)


def process_apply_thread(env: Environment, directive: Directive) -> None:
    """`process-apply-thread`."""
    _process(env, directive.ids, "processing apply thread", _run_apply_thread)


def _process(env: Environment, ids: Sequence[NodeId], title: str, work: Work) -> None:
    for node in map(env.node, ids):
        if len(ids) == 1:
            work(env, node)
        else:
            _under_title(env, node, title, work)


def _under_title(env: Environment, node: Node, title: str, work: Work) -> None:
    env.output.line(f"> {node.id} {title}")
    with env.output.indented():
        work(env, node)


def _handle_ready(env: Environment, node: Node) -> None:
    ready = node.core.ready()
    env.output.write(ready_text(ready))
    synchronous = not node.options.async_storage_writes
    if synchronous:
        node.save(ready.hard_state, ready.entries, ready.snapshot)
        node.apply(ready.committed)
    for message in ready.messages:
        match message:
            case StorageAppend():
                node.append_work.append(message)
            case StorageApply():
                node.apply_work.append(message)
            case _:
                env.network.send(message)
    if synchronous:
        node.core.advance(ready)


def _run_append_thread(env: Environment, node: Node) -> None:
    if not node.append_work:
        env.output.write("no append work to perform")
        return
    work = node.append_work.popleft()
    env.output.line(f"Processing:\n{message_text(work, responses=False)}")
    node.save(work.hard_state, work.entries, work.snapshot)
    _respond(env, work.responses)


def _run_apply_thread(env: Environment, node: Node) -> None:
    if not node.apply_work:
        env.output.write("no apply work to perform")
        return
    work = node.apply_work.popleft()
    env.output.line(f"Processing:\n{message_text(work, responses=False)}")
    node.apply(work.entries)
    _respond(env, work.responses)


def _respond(env: Environment, responses: Iterable[Message]) -> None:
    env.output.line("Responses:")
    for response in responses:
        env.output.line(message_text(response))
        env.network.send(response)


def stabilize(env: Environment, directive: Directive) -> None:
    """`stabilize`: rounds of all kinds of work, until a round finds none."""
    level = (*directive.values("log-level"), None)[0]
    nodes = [env.node(each) for each in directive.ids] or list(env.nodes.values())
    with env.output.at_level(level):
        while _round(env, nodes):
            pass


def _round(env: Environment, nodes: Sequence[Node]) -> bool:
    """One turn of every kind of work; False if there was none of any."""
    busy = False
    for has_work, title, work in ROUND:
        for node in nodes:
            if has_work(env, node):
                busy = True
                _under_title(env, node, title, work)
    return busy


def _receive(env: Environment, node: Node) -> None:
    _deliver(env, node.id)


def _drain_append_work(env: Environment, node: Node) -> None:
    while node.append_work:
        _run_append_thread(env, node)


def _drain_apply_work(env: Environment, node: Node) -> None:
    while node.apply_work:
        _run_apply_thread(env, node)


ROUND: tuple[tuple[Callable[[Environment, Node], bool], str, Work], ...] = (
    (lambda _, node: node.core.has_ready(), "handling Ready", _handle_ready),
    (lambda env, node: env.network.has_messages(node.id), "receiving messages", _receive),
    (lambda _, node: bool(node.append_work), "processing append thread", _drain_append_work),
    (lambda _, node: bool(node.apply_work), "processing apply thread", _drain_apply_work),
)
