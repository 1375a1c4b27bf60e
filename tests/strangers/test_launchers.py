"""The launcher's supervisor and the keeper of an embedded node, told and asked everything that has a tag."""

from __future__ import annotations

from pathlib import Path

from actors.errors import CodecError
from actors.runtime import Runtime
from raft.cluster.rpc import messages
from raft.protocol.admin import BecameLeader, LostLeadership
from raft.protocol.registry import SUPERVISOR, TAGS
from tests.cluster.supervisor_lab import Lab
from tests.embedding.test_node_supervisor import Rig
from tests.strangers.values import Absurd, kinds

# These end nodes, or all of them, in earnest.
DEEDS = (messages.Down, messages.RemoveMember, messages.ReplaceMember)
SECOND = 1.0


def harass(sender: Runtime, absurd: Absurd, kind: type) -> None:
    for message in absurd.messages(kind):
        try:
            sender.tell(SUPERVISOR, message)
            sender.ask(SUPERVISOR, message, 5.0)
        except (CodecError, UnicodeEncodeError):
            continue


def test_no_message_ends_the_launcher_or_is_believed_of_a_node(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    for node in lab.cluster.nodes:
        lab.bring_up(node)
    lab.lead(1, 1)
    stranger = lab.join("stranger", lab.registry)
    stranger.transport.connect("launcher", "")
    absurd = Absurd(1)
    for kind in kinds({**TAGS, **messages.VERB_TAGS}):
        if kind not in DEEDS:
            harass(stranger, absurd, kind)
            lab.turn()
        assert not lab.runtime.stopped and not lab.crashes, kind
    lab.turn(SECOND)
    assert not lab.runtime.stopped and not lab.crashes
    assert not lab.told("violation")
    assert isinstance(lab.ask(messages.ListFaults()), messages.FaultList)
    lab.journal.close()
    lab.fork_server.close()


def test_no_message_ends_the_keeper_of_an_embedded_node(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.come_up()
    stranger = rig.join("stranger")
    stranger.transport.connect(SUPERVISOR.process, "")
    absurd = Absurd(1)
    for kind in kinds(TAGS):
        harass(stranger, absurd, kind)
        rig.turn()
        assert not rig.runtime.stopped and not rig.ends, kind
    rig.turn(SECOND)
    assert not rig.ends and rig.ups == 1
    assert rig.leaders == []
    rig.fork_server.close()


def test_only_a_node_itself_reports_that_it_leads(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    for node in lab.cluster.nodes:
        lab.bring_up(node)
    lab.lead(1, 1)
    lab.asker.tell(SUPERVISOR, BecameLeader(2, 1, 0, 2, 3, 0.01, "timeout", lab.clock.now()))
    lab.asker.tell(SUPERVISOR, LostLeadership(1, 1, "higher-term", lab.clock.now()))
    lab.turn()
    assert not lab.told("violation") and not lab.told("leader-lost")
    lab.tell(BecameLeader(2, 1, 0, 2, 3, 0.01, "timeout", lab.clock.now()))
    assert len(lab.told("violation")) == 1
    lab.journal.close()
    lab.fork_server.close()
