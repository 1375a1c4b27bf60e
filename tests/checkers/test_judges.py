"""The judges are judged: they let every legal history pass, and notice whatever is made wrong with one."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from raft.lab.checkers.judge import judge
from raft.lab.checkers.records import RecordedHistory
from raft.lab.checkers.verdict import Ruling
from tests.checkers.corruption import CORRUPTIONS
from tests.checkers.models import MODELS

SEEDS = range(2)
NEW_OPERATIONS = {"keep", "led", "left", "watch"}


def copy_of(recorded, change=lambda record: record):
    records = [change(msgspec.structs.replace(record)) for record in recorded.records]
    records = [record for record in records if record is not None]
    records.sort(key=lambda record: record.call)
    return RecordedHistory(header=recorded.header, records=records)


def aged(record):
    """The operation as histories told of it before they told of leases, watches and the log."""
    if record.op in NEW_OPERATIONS:
        return None
    if record.op == "acquire" and record.done:
        record.result = {"token": record.result["token"]}
    if record.op == "release":
        lost = record.done and not record.result["held"]
        record.expected, record.result = None, None
        record.outcome = "refused" if lost else record.outcome
    record.index = 0
    return record


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("model", MODELS)
def test_what_is_legal_passes_also_as_it_was_written_down_formerly(model, seed):
    recorded = MODELS[model](seed)
    verdict = judge(recorded)
    assert verdict.ruling is Ruling.LEGAL, verdict.anomalies
    assert verdict.notes == ()
    former = judge(copy_of(recorded, aged))
    assert former.ruling is Ruling.LEGAL, (former.anomalies, former.notes)


@pytest.mark.parametrize(
    ("model", "corruption"),
    [(model, corruption) for model, all_of_them in CORRUPTIONS.items() for corruption in all_of_them],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_it_notices(model, corruption):
    corrupted = 0
    for seed in SEEDS:
        recorded = copy_of(MODELS[model](seed))
        if corruption(Random(f"{corruption.__name__}/{seed}"), recorded.records) is False:
            continue
        corrupted += 1
        verdict = judge(copy_of(recorded))
        assert verdict.ruling is Ruling.ILLEGAL, f"seed {seed}"
    assert corrupted, "there was no place for it"
