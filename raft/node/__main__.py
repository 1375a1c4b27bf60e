"""One node on its own: `python -m raft.node --id 1 --listen … --peer 2=… --data-dir …`.

Owns how such a process begins. What may be given is in `process.command_line`.
"""

import sys

from actors.processes.loading import loading

with loading():
    from raft.node.process.command_line import parse
    from raft.node.process.main import main

if __name__ == "__main__":
    sys.exit(main(parse(None).encode()))
