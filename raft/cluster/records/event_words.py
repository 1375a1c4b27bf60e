"""Events in words, the same on terminals, on pages and in reports.

Owns the words. Colours are the caller's: a `Paint` is given a text and the names of its styles.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import UNSET

from raft.cluster.quantities import count_of
from raft.cluster.records.events import (
    ClusterReady,
    ClusterStarted,
    Event,
    EventsLost,
    FaultCleared,
    FaultInjected,
    LeaderElected,
    LeaderLost,
    MembersChanged,
    NodeExited,
    NodeGaveUp,
    NodeStarted,
    RunDirectoryRemoved,
    SpaceAgain,
    SpaceAlarm,
    Violation,
)
from raft.cluster.selectors import names


class Paint(Protocol):
    """Gives a text a look."""

    def __call__(self, text: str, *styles: str) -> str:
        """`text` in those styles."""
        ...


def plain(text: str, *_styles: str) -> str:
    """The text as it is: a Paint without colours."""
    return text


def printable(text: str) -> str:
    """A text that cannot move a terminal's cursor, change its colours or look like several lines."""
    return text if text.isprintable() else "".join(map(_printable_character, text))


def _printable_character(character: str) -> str:
    if character.isprintable():
        return character
    if "\udc80" <= character <= "\udcff":  # A byte that was no text.
        return f"\\x{ord(character) & 0xFF:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def event_words(event: Event, paint: Paint = plain) -> str:
    """One event without its time."""
    match event:
        case LeaderElected():
            votes = f"  {event.votes}/{event.voters} votes  in {event.took_ms:.1f} ms" if event.votes else ""
            words = f"term {event.term}{votes}  ({_why_elected(event)})"
            return f"{paint(f'LEADER n{event.node}', 'bold', 'green')}  {words}"
        case LeaderLost():
            return f"{paint(f'LOST n{event.node}', 'yellow')}  term {event.term}  ({event.reason})"
        case NodeStarted():
            return f"STARTED n{event.node}  pid {event.pid}  in {event.took_ms:.1f} ms"
        case NodeExited():
            return _exit_words(event, paint)
        case NodeGaveUp():
            why = (
                printable(event.reason or "")
                or f"after {event.restarts} restarts within {event.window_s:g} s"
            )
            return (
                paint(f"GAVE UP n{event.node}  {why}", "bold", "red")
                + f"  (try again with `start {event.node}`)"
            )
        case FaultInjected():
            return f"{paint(f'FAULT {event.kind}#{event.id}', 'red')}  {event.text}"
        case FaultCleared():
            return f"{paint(f'CLEARED {event.kind}#{event.id}', 'green')}  {event.text}"
        case MembersChanged():
            voters = f"{count_of(len(event.voters), 'voter')}: {names(event.voters)}"
            return f"{paint('MEMBERS', 'cyan')}  {event.text}  ({voters})"
        case ClusterStarted():
            return f"CLUSTER  {count_of(event.nodes, 'node')}, pid {event.pid}, {event.wall}"
        case EventsLost():
            return paint(f"LOST {count_of(event.lost, 'event')} before this one: the disk was full", "red")
        case RunDirectoryRemoved():
            return paint(f"RUN DIRECTORY {printable(event.path)} {event.text}", "red")
        case ClusterReady():
            return f"{count_of(event.nodes, 'node')} up, leader n{event.leader} (term {event.term})"
        case SpaceAlarm():
            return paint(f"OUT OF SPACE  {_space(event)}: only deletions are accepted", "bold", "red")
        case SpaceAgain():
            return f"SPACE AGAIN  {_space(event)}"
        case Violation():
            return paint(f"VIOLATION  {event.text}", "bold", "red")


def _space(event: SpaceAlarm | SpaceAgain) -> str:
    return f"n{event.node} holds {event.used_bytes / 1e6:.0f} of {event.quota_bytes / 1e6:.0f} MB"


def _why_elected(event: LeaderElected) -> str:
    if event.reason == "transfer":
        return f"transfer from n{event.previous}" if event.previous else "transfer"
    ended = {"leader-died": "died", "timeout": "timed out"}.get(event.reason)
    if ended is None or not event.previous:
        return event.reason
    if event.previous == event.node:
        return "leads again"
    return f"leader n{event.previous} {ended}"


def _exit_words(event: NodeExited, paint: Paint) -> str:
    how = f"code {event.code}" if event.signal is UNSET else str(event.signal)
    words = f"EXITED n{event.node}  pid {event.pid}  {how}  ({event.cause})"
    if event.cause != "crash":
        return words
    last = "" if event.traceback is UNSET else str(event.traceback).strip().splitlines()[-1]
    return paint(words, "red") + (f"  {printable(last)}" if last else "")
