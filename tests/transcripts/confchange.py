"""The transcripts of configuration changes: one tracker, changed step by step.

Owns the commands `simple`, `enter-joint` and `leave-joint`.
"""

from raft.core.confchange import Changed, Changer
from raft.core.errors import ConfChangeRefused
from raft.core.progress import Progress
from raft.core.status import ProgressStatus
from raft.core.tracker import Tracker
from tests.transcripts.conf_changes import parse_changes
from tests.transcripts.describe import config_text, progress_lines
from tests.transcripts.faults import CommandFailed, sentence
from tests.transcripts.parser import Directive

COMMANDS = frozenset(("simple", "enter-joint", "leave-joint"))
INFLIGHT_MESSAGES_MAX = 10


class ConfChangeInterpreter:
    """Keeps the configuration that the last successful change made."""

    def __init__(self) -> None:
        self._tracker = Tracker(INFLIGHT_MESSAGES_MAX, 0)
        self._last_index = 0

    def run(self, directive: Directive) -> str:
        try:
            self._tracker.switch(*self._change(directive))
        except (ConfChangeRefused, CommandFailed) as refused:
            return sentence(refused)
        finally:
            self._last_index += 1
        progress = {node: _status(peer) for node, peer in self._tracker.progress.items()}
        return f"{config_text(self._tracker.configuration.conf_state())}\n{progress_lines(progress)}"

    def _change(self, directive: Directive) -> Changed:
        changer = Changer(self._tracker, self._last_index)
        steps = parse_changes(directive.input)
        match directive.command:
            case "simple":
                return changer.simple(steps)
            case "enter-joint":
                return changer.enter_joint(directive.switch("autoleave"), steps)
            case "leave-joint":
                if steps:
                    raise CommandFailed("this command takes no input")
                return changer.leave_joint()
            case _:
                raise CommandFailed("unknown command")


def _status(peer: Progress) -> ProgressStatus:
    return ProgressStatus(
        match=peer.match,
        next=peer.next,
        state=peer.state.value,
        is_learner=peer.is_learner,
        paused=peer.paused(),
        pending_snapshot=peer.pending_snapshot,
        recently_active=peer.recently_active,
        inflight=len(peer.inflights),
        inflight_full=peer.inflights.full,
    )
