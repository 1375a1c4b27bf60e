"""Reads by lease in simulated clusters: linearizable, and noticed when they are not."""

from __future__ import annotations

import pytest
from msgspec import structs

from raft.lab.simulation.faults.plan import LEADER, Fault, Kind, draw_plan
from raft.lab.simulation.lease_guards import LEASE_SABOTAGES
from raft.lab.simulation.setting import Setting, draw_setting
from raft.lab.simulation.simulation import simulate

ROUNDS = 4
ROUND_SECONDS = 2.5
CLOSED = 0.9  # Connections of an isolated node are closed at once.
# Clients that ask more often hide a stale read: the answers that follow allow more orders, and take longer.
THINK_SECONDS = 0.2


def round_starts() -> list[float]:
    return [3.0 + ROUND_SECONDS * number for number in range(ROUNDS)]


def isolations() -> list[Fault]:
    return [Fault(start, Kind.ISOLATION, (LEADER,), 1.5, CLOSED) for start in round_starts()]


def kills() -> list[Fault]:
    return [Fault(start, Kind.KILL, (LEADER,), 0.25, 0.5) for start in round_starts()]


def isolations_and_restarts() -> list[Fault]:
    pairs = ((1, 2), (2, 3), (1, 3))
    restarts = [
        Fault(start + 0.02, Kind.KILL, (node,), 0.03, 0.5)
        for number, start in enumerate(round_starts())
        for node in pairs[number % len(pairs)]
    ]
    return sorted([*isolations(), *restarts], key=lambda fault: fault.at_seconds)


PLANS = {"isolations": isolations(), "kills": kills(), "restarts": isolations_and_restarts()}
NOTICED_BY = {
    "vote-without-proof": "isolations",
    "lease-after-restart": "kills",
    "pledge-forgotten": "restarts",
    "unpledged-lease": "isolations",
}


def busy(seed: int, **options: object) -> Setting:
    """Three nodes on one machine, whose clients read and write all the time."""
    seconds = 4.0 + ROUNDS * ROUND_SECONDS / 0.75
    given = {"machines": 1, "nodes": 3, "think_seconds": THINK_SECONDS, **options}
    return Setting(seed=seed, seconds=seconds, **given)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize(
    "options", [{}, {"lease_reads": True, "machines": 0}], ids=["one machine", "asked for"]
)
def test_reads_by_lease_are_linearizable_when_leaders_are_cut_off_or_die(plan, options):
    for seed in (1, 2):
        failure = simulate(busy(seed, **options), PLANS[plan]).failure
        assert failure is None, f"seed {seed}: {failure}"


@pytest.mark.parametrize("block", range(5))
def test_reads_are_linearizable_whatever_can_be_proved_of_whom(block):
    for seed in range(40_000 + 2 * block, 40_000 + 2 * block + 2):
        drawn = draw_setting(seed, nodes=3 + 2 * (seed % 2), seconds=12.0)
        setting = structs.replace(
            drawn, check_quorum=True, machines=drawn.machines or 1, lease_mixture=bool(block % 2)
        )
        failure = simulate(setting, draw_plan(setting)).failure
        assert failure is None, f"seed {seed}: {failure}"


@pytest.mark.parametrize("sabotage", LEASE_SABOTAGES, ids=lambda sabotage: sabotage.name)
def test_a_missing_guard_of_leases_is_noticed(sabotage):
    plan = PLANS[NOTICED_BY[sabotage.name]]
    mixture = sabotage.name == "unpledged-lease"
    with sabotage.patch():
        failures = (simulate(busy(seed, lease_mixture=mixture), plan).failure for seed in range(12))
        assert any(failure is not None for failure in failures)
