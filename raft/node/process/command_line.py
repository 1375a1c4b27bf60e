"""The command line of a node on its own, for those who supervise their processes by other means.

Owns its options and their help, and the configuration that they make. Knows nothing of how a node works.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial

from raft.durations import range_of, seconds_of
from raft.node.config import LOG_LEVELS, NodeConfig
from raft.node.process.exit_codes import as_text
from raft.node.settings import configure
from raft.node.snapshots.policy import SnapshotPolicy
from raft.node.tuning import BadTuning, Tuning

EXAMPLE = """\
example, one of three nodes on one machine, in a directory of mode 700:
  raft-actors init --data-dir /var/lib/raft/n1
  python -m raft.node --existing --id 1 --listen ipc:///run/raft/n1 \\
      --peer 2=ipc:///run/raft/n2 --peer 3=ipc:///run/raft/n3 --data-dir /var/lib/raft/n1
  and the same command line at every later start

"""


HELP_COLUMNS = 100
LEASE_READS_HELP = (
    "reads rely on clocks, not on a quorum; by default only where a leader's death can be proved"
)
SNAPSHOT_ENTRIES_HELP = "0: not by entries; without it, when the log has outgrown the last snapshot"
TUNE_HELP = f"a limit or habit of the core: {', '.join(Tuning.__struct_fields__)}"


def duration(text: str) -> float:
    """Seconds in "50ms", "5s" or "2m"; see raft.durations."""
    try:
        return seconds_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def duration_range(text: str) -> tuple[float, float]:
    """The two ends of "250ms-500ms"; see raft.durations."""
    try:
        return range_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def member(text: str) -> tuple[int, str]:
    """The id and the endpoint in "2=tcp://host:port"."""
    node, equals, endpoint = text.partition("=")
    if not (equals and node.isdecimal() and endpoint):
        raise argparse.ArgumentTypeError(f"{text!r} is no peer: write 2=tcp://host:port")
    return int(node), endpoint


def command_line() -> argparse.ArgumentParser:
    """All options, their defaults and their help."""
    parser = argparse.ArgumentParser(
        prog="python -m raft.node",
        description="Run one Raft node in the foreground.",
        epilog=EXAMPLE + as_text(),
        # Without it argparse asks for the terminal's at each option, with modules that are slow to load.
        formatter_class=partial(argparse.RawDescriptionHelpFormatter, width=HELP_COLUMNS),
        argument_default=argparse.SUPPRESS,  # What is not given has the configuration's own default.
    )
    add = parser.add_argument
    add("--id", type=int, dest="node", required=True, metavar="N", help="this node's id, from 1 on")
    add(
        "--listen",
        required=True,
        metavar="ENDPOINT",
        help="ipc:///path or tcp://host:port; on loopback TCP without --keys only processes of this user,"
        " or root's, are heard, and each of them may give any command",
    )
    add("--advertise", metavar="ENDPOINT", help="where others reach this node, if not there")
    add("--peer", type=member, dest="peers", action="append", metavar="N=ENDPOINT", help="another member")
    add("--join", action="store_true", help="a later member's first start: wait until the leader adds it")
    add(
        "--existing",
        action="store_true",
        help="refuse an empty directory that `raft-actors init` has not made: what it promised is lost",
    )
    add("--repair-from-peers", action="store_true", help="put a damaged log aside, and join the cluster anew")
    add("--data-dir", required=True, metavar="DIR", help="where the log lives; one directory per node")
    add("--cluster", metavar="NAME", help="nodes of other clusters are not listened to")
    add(
        "--keys",
        metavar="FILE",
        help="this node's CURVE key file; a must beyond loopback; SIGHUP reads the list beside it again",
    )
    add("--heartbeat", type=duration, metavar="TIME")
    add("--fsync-warn", type=duration, metavar="TIME", help="a slower leader hands over")
    add("--election-timeout", type=duration_range, metavar="MIN-MAX")
    add("--machine", metavar="MODULE:CLASS", help="a state machine of your own, to be replicated")
    add("--tune", action="append", metavar="NAME=VALUE", help=TUNE_HELP)
    add("--snapshot-entries", type=int, dest="entries_max", metavar="N", help=SNAPSHOT_ENTRIES_HELP)
    add("--snapshot-bytes", type=int, dest="bytes_max", metavar="N", help="0: not by bytes")
    add("--keep-entries", type=int, dest="entries_kept", metavar="N", help="of those in a snapshot")
    add("--no-pre-vote", action="store_false", dest="pre_vote")
    add("--no-check-quorum", action="store_false", dest="check_quorum")
    add("--lease-reads", action=argparse.BooleanOptionalAction, help=LEASE_READS_HELP)
    add("--ephemeral-log", action="store_true", help="NO FSYNC: a power cut loses acknowledged writes")
    add(
        "--fault-injection",
        action="store_true",
        help="let the supervisor break this node on purpose; only for experiments",
    )
    add("--trace", metavar="FILE", help="a JSON line for every event in the core")
    add("--log-file", dest="log_path", metavar="FILE", help="JSON lines; standard error without")
    add("--log-level", choices=LOG_LEVELS)
    return parser


def parse(arguments: Sequence[str] | None) -> NodeConfig:
    """The configuration that a command line asks for; exits with 2 for one that cannot be read."""
    parser = command_line()
    given = vars(parser.parse_args(arguments))
    peers = given.pop("peers", ())
    policy = {name: given.pop(name) for name in SnapshotPolicy.__struct_fields__ if name in given}
    try:
        return configure(**given, peers=dict(peers), snapshots=SnapshotPolicy(**policy))
    except BadTuning as error:
        parser.error(str(error))
