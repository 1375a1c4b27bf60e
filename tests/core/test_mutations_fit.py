"""Each mutation in the list still applies to the source of the core."""

import shutil
from pathlib import Path

import pytest

from tests.mutation.mutations import Mutation, mutations

CORE = Path(__file__).resolve().parents[2] / "raft" / "core"


@pytest.mark.parametrize("mutation", list(mutations()), ids=lambda mutation: mutation.name)
def test_the_lines_of_a_mutation_are_in_exactly_one_place(mutation: Mutation, tmp_path: Path) -> None:
    shutil.copy(CORE / mutation.file, tmp_path / mutation.file)
    mutation.apply(tmp_path)
