"""`python -m benchmarks tables --from DIR`: what a comparison has kept, as markdown and as pictures.

Owns the command line. Knows nothing of how a table or a picture is made.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers.pictures import write_pictures
from benchmarks.peers.record import Record, rows_of
from benchmarks.peers.showing import insert, markdown


def main(arguments: Sequence[str]) -> int:
    """Print the tables, or put them between the marks of a page, with the pictures beside it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks tables", description=__doc__)
    parser.add_argument("--from", dest="source", type=Path, required=True, metavar="DIR")
    parser.add_argument("--into", type=Path, metavar="PAGE", help="replace the tables of a markdown page")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="write the SVGs there")
    options = parser.parse_args(arguments)
    record = Record.read(options.source)
    rows = rows_of(record.figures)
    if options.pictures:
        for path in write_pictures(record, rows, options.pictures):
            print(path)
    if options.into:
        insert(options.into, markdown(record, rows))
    elif not options.pictures:
        print(markdown(record, rows))
    return 0
