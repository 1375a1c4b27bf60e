"""`python -m tests.transcripts PATH...`: run transcripts, show where they differ, count them."""

import argparse
import sys
import traceback
from pathlib import Path

from tests.transcripts.runner import first_difference, transcripts


def main(arguments: list[str]) -> int:
    """The exit code: 0 if all passed, 1 if any failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.transcripts", description=__doc__)
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="a transcript, or a folder of *.txt"
    )
    paths = transcripts(parser.parse_args(arguments).paths)
    failed = sum(not passes(path) for path in paths)
    print(f"{len(paths) - failed} passed, {failed} failed")
    return 1 if failed else 0


def passes(path: Path) -> bool:
    """Run one file; a core that breaks fails this file and no other."""
    try:
        difference = first_difference(path)
    except Exception:  # noqa: BLE001 (whatever it is, it is reported, and the other files still run)
        print(f"{path}: broke\n{traceback.format_exc()}")
        return False
    if difference is not None:
        print(f"{difference}\n")
    return difference is None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
