"""What a node tells of its recent past: its events, and the lines of its log.

Owns the request and its answer, and the table of the kinds of events. Each node keeps its last events and
lines in memory, numbered from 1 in each incarnation; `GetRecords` asks for those after a number, a
page at a time. A reader that follows repeats the request with the last number that it has seen, and with the
incarnation to which that belongs: a node that has been started again meanwhile answers from its beginning.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct, field

from raft.protocol.limits import Number

Value = int | float | str | bool | list[int] | None

EVENT_KINDS: Final[dict[str, str]] = {
    "node-started": "The node has recovered its log, and is up.",
    "node-stopping": "It was asked to stop, and hands leadership over.",
    "votes-asked": "It asks for votes, or for pre-votes (`pre`), in `term`.",
    "vote-granted": "It gave its vote, or its word for one (`pre`), to `candidate` in `term`.",
    "vote-refused": "It did not, for the `reason`; with `silent`, it did not answer at all.",
    "vote-counted": "The answer of `voter` has arrived at the candidate; whether it was `granted`.",
    "leader-elected": "It leads `term`, elected with `votes` of `voters`, after `took_ms` without a leader.",
    "leader-seen": "It follows `leader`.",
    "leader-gone": "Its `leader` has died or was removed: an election begins before the timeout.",
    "leader-lost": "It no longer leads `led_term`, for the `reason`.",
    "relieved": "It hands leadership over to `heir`, for the `reason`.",
    "peer-up": "`peer` is connected, and is of this cluster.",
    "peer-down": "`peer` is no longer connected.",
    "turned-away": "`peer` belongs to another cluster.",
    "unconnected": "No connection to `peer` can be made at `endpoint`.",
    "unvisited": "`peer` is added, and did not answer before.",
    "configuration": "The members are `voters` and `learners` from now on.",
    "conf-change-refused": "A committed change of the members could not be made.",
    "removed": "It was removed from the cluster.",
    "identity": "It has learnt to which cluster it belongs.",
    "cluster-version": "All members know this `version` of the machine.",
    "machine-raised": "The user's machine raised an error when it was told a version.",
    "snapshot-taken": "It has a snapshot at `index`.",
    "snapshot-sent": "It has sent its snapshot `to` a member.",
    "snapshot-installed": "It has the state of its leader up to `index`, by a snapshot.",
    "snapshot-abandoned": "It gave up sending a snapshot `to` a member.",
    "snapshot-failed": "A snapshot could not be taken or received.",
    "snapshot-damaged": "A stored snapshot is damaged.",
    "bad-snapshot": "A snapshot that was sent belongs to another cluster, or cannot be read.",
    "disk-full": "Its disk has no room for its log.",
    "disk-has-room": "Its disk has room again.",
    "fsync-slow": "A write to its disk took `seconds`.",
    "out-of-space": "The leader refuses what needs more than `quota_bytes`.",
    "space-again": "There is space again.",
    "stalled": "The process was not run for `seconds`.",
    "busy": "One turn took `seconds`.",
    "bad-entry": "An entry that was sent cannot be read.",
    "step-refused": "A message that was sent is not for a node.",
    "term-refused": "A message that was sent has an impossible term.",
    "life-absurd": "A member has seen an impossible number of this node's incarnations.",
}
"""The kinds of events that nodes keep, and what each says; in backquotes, its values."""


class NodeEvent(Struct, frozen=True):
    """Something that has happened at a node, which had `role` and `term` then."""

    number: int  # Each is greater than the one before; by 1, unless some between were forgotten.
    at_seconds: float  # Unix time, by the node's clock: to show and to merge by, never to decide by.
    role: str
    term: int
    kind: str  # One of EVENT_KINDS, and maybe of more in later releases.
    text: str
    values: dict[str, Value]


class GetRecords(Struct, frozen=True):
    """Answered by `Records`: the events, or the lines of the log, after number `after` of that `incarnation`.

    In another incarnation (0: not known) `after` does not count. At most `limit` are told at once, and no
    more than a node wants to.
    """

    log: bool = False
    incarnation: Number = field(default=0, name="life")  # The name of the field as it travels.
    after: Number = 0
    limit: Number = 500


class Records(Struct, frozen=True):
    """Events or lines, the oldest first; the last has number `upto`, which is `after` if there are none.

    `newest` is the number of the newest that the node has: repeat the request if it is greater than `upto`.
    `forgotten` of those after `after` were not kept.
    """

    node: int
    incarnation: int = field(name="life")
    upto: int
    newest: int
    forgotten: int
    events: list[NodeEvent]
    lines: list[str]  # JSON objects, as in a log file.
    leader: int = 0  # Whom the node follows now,
    term: int = 0  # in this term.
