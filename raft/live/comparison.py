"""What has happened between two looks at a cluster whose events are not told by a launcher.

Owns the comparison. Pure. What begins and ends between two looks is not seen, so leaders may be missing.
"""

from __future__ import annotations

from raft.cluster.records.events import Event, LeaderElected, LeaderLost
from raft.cluster.rpc.messages import ClusterStatus


def leadership_seen(before: ClusterStatus | None, now: ClusterStatus, t: float) -> list[Event]:
    """The ends and beginnings of leaderships, as far as they are seen at `t`."""
    old = (before.leader, before.term) if before is not None else (None, 0)
    new = (now.leader, now.term)
    if old == new or (old[0] is None and new[0] is None):
        return []
    events: list[Event] = []
    if old[0] is not None and (new[0] is None or old != new):
        events.append(LeaderLost(node=old[0], term=old[1], reason=_why(old[0], now), t=t))
    if new[0] is not None:
        reason = "first seen" if before is None else "seen"
        elected = LeaderElected(
            node=new[0],
            term=new[1],
            previous=old[0] or 0,
            votes=0,
            voters=now.voters,
            took_ms=0.0,
            reason=reason,
            t=t,
        )
        events.append(elected)
    return events


def answers_seen(before: ClusterStatus | None, now: ClusterStatus) -> list[tuple[int, str]]:
    """Nodes that answer no longer ("unreachable"), or again ("answers")."""
    if before is None:
        return []
    answered = {view.id: view.role is not None for view in before.nodes}
    return [
        (view.id, "answers" if view.role is not None else "unreachable")
        for view in now.nodes
        if answered.get(view.id, view.role is not None) != (view.role is not None)
    ]


def _why(leader: int, now: ClusterStatus) -> str:
    view = next((view for view in now.nodes if view.id == leader), None)
    if view is None:
        return "removed"
    if view.role is None:
        return "unreachable"
    return "higher-term" if now.leader != leader else "superseded"
