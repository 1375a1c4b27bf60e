"""`add-nodes`: new nodes, empty or from a common snapshot, with the options of a core.

Owns the names that transcripts have for the options.
"""

from raft.core.config import ReadOnlyOption
from raft.core.types import NO_LIMIT, ConfState, Snapshot
from tests.transcripts.environment import Environment
from tests.transcripts.faults import CommandFailed
from tests.transcripts.node import Node, Options
from tests.transcripts.parser import Directive

ELECTION_TICKS = 3
HEARTBEAT_TICKS = 1
INFLIGHT_MESSAGES_MAX = 2**31 - 1
SNAPSHOT_TERM = 1


def add_nodes(env: Environment, directive: Directive) -> None:
    """`add-nodes`."""
    snapshot = _first_snapshot(directive)
    for _ in range(directive.ids[0]):
        options = _options(len(env.nodes) + 1, directive)
        env.nodes[options.id] = Node(options, snapshot)


def _first_snapshot(directive: Directive) -> Snapshot:
    voters, learners = directive.numbers("voters"), directive.numbers("learners")
    index = directive.number("index", 0)
    if not (voters or learners or index):
        return Snapshot()
    if index <= 1:
        raise CommandFailed("index must be specified as > 1 due to bootstrap")
    return Snapshot(index, SNAPSHOT_TERM, ConfState(voters=voters, learners=learners))


def _options(node_id: int, directive: Directive) -> Options:
    read_only = (*directive.values("read-only"), "safe")[0]
    if read_only not in {option.value for option in ReadOnlyOption}:
        raise CommandFailed(f'invalid read-only option "{read_only}"')
    return Options(
        id=node_id,
        election_ticks=ELECTION_TICKS,
        heartbeat_ticks=HEARTBEAT_TICKS,
        applied=directive.number("index", 0),
        async_storage_writes=directive.switch("async-storage-writes"),
        max_size_per_msg=directive.number("max-size-per-msg", NO_LIMIT),
        max_committed_size_per_ready=directive.number("max-committed-size-per-ready", 0),
        max_uncommitted_size=directive.number("max-uncommitted-size", 0),
        max_inflight_msgs=directive.number("inflight", INFLIGHT_MESSAGES_MAX),
        max_inflight_bytes=directive.number("max-inflight-bytes", 0),
        check_quorum=directive.switch("checkquorum"),
        pre_vote=directive.switch("prevote"),
        read_only=ReadOnlyOption(read_only),
        unsafe_as_etcd=True,
        disable_proposal_forwarding=directive.switch("disable-proposal-forwarding"),
        disable_conf_change_validation=directive.switch("disable-conf-change-validation"),
        step_down_on_removal=directive.switch("step-down-on-removal"),
    )
