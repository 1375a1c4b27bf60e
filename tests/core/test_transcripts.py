"""Every transcript, the shared ones and the project's own, gives exactly the recorded output."""

from pathlib import Path

import pytest

from tests.transcripts.runner import first_difference, transcripts

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "conformance"
OWN = Path(__file__).parent / "transcripts"


def by_name(path: Path) -> str:
    return "/".join(path.parts[-2:])


@pytest.mark.skipif(not SHARED.is_dir(), reason="the folder ../shared/conformance is not here")
def test_there_are_shared_transcripts():
    assert transcripts([SHARED])


@pytest.mark.parametrize("path", transcripts([SHARED] if SHARED.is_dir() else []), ids=by_name)
def test_a_shared_transcript_is_answered_to_the_letter(path: Path):
    difference = first_difference(path)
    assert difference is None, str(difference)


@pytest.mark.parametrize("path", transcripts([OWN]), ids=by_name)
def test_a_transcript_of_our_own_is_answered_to_the_letter(path: Path):
    difference = first_difference(path)
    assert difference is None, str(difference)
