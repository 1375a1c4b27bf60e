"""Draw the pictures of docs/faults.md: each fault, made in a real cluster, and what came of it.

    python docs/pictures/draw.py [NAME…]

Owns the stories. All else is said with the verbs that anybody has: what is drawn is what they did.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
LAUNCHER = HERE.parent.parent / "launcher.py"
SETTLE_SECONDS = 1.0

# A number waits so long, `writes` puts so many values, everything else is a verb.
STORIES: dict[str, tuple[int, tuple[str | float, ...]]] = {
    "kill": (3, ("kill leader", 1.0, "start all", 1.0)),
    "crash": (3, ("kill leader --at save.written --restart-after 1s", "writes 1", 2.5)),
    "pause": (3, ("pause leader --for 1500ms", 2.5)),
    "partition": (5, ("transfer 1", 0.5, "partition 1,2 3,4,5", 2.0, "heal", 1.0)),
    "isolate": (3, ("isolate followers", 2.0, "heal", 1.0)),
    "link": (3, ("link leader followers --delay 20ms --jitter 10ms --drop 30%", 2.0, "heal", 1.0)),
    "disk-slow": (3, ("disk leader --fsync-delay 200ms", "writes 4", 1.0, "disk all --clear", 0.5)),
    "disk-full": (3, ("disk leader --full", "writes 2", 1.0, "disk all --clear", "writes 1", 0.5)),
    "disk-failing": (3, ("disk leader --fail-fsync", "writes 2", 2.0)),
    "clock": (3, ("transfer 1", 0.5, "clock 2 --rate 3", 2.0, "faults clear", 0.5)),
}


def main(names: list[str]) -> None:
    """Draw the pictures with these names, or all."""
    for name in names or STORIES:
        nodes, steps = STORIES[name]
        (HERE / f"{name}.svg").write_text(story(f"draw-{name}", nodes, steps), encoding="utf-8")
        print(name)


def story(cluster: str, nodes: int, steps: tuple[str | float, ...]) -> str:
    """Start a cluster, go through the steps, and draw what happened."""
    verb("up", "--nodes", str(nodes), "--name", cluster, "--seed", "1", "--detach")
    try:
        time.sleep(SETTLE_SECONDS)
        for step in steps:
            if isinstance(step, float):
                time.sleep(step)
            elif step.startswith("writes "):
                for number in range(int(step.split()[1])):
                    verb("put", f"key{number}", "value", "--cluster", cluster)
            else:
                verb(*step.split(), "--cluster", cluster)
        return verb("timeline", "-o", "svg", "--cluster", cluster)
    finally:
        verb("down", "--cluster", cluster)


def verb(*words: str) -> str:
    """One verb, to its end. One that fails (a handover to who leads already) is part of the story."""
    done = subprocess.run(
        [sys.executable, str(LAUNCHER), *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(" ".join(words), done.stderr.strip(), sep=": ", file=sys.stderr)
    return done.stdout


if __name__ == "__main__":
    main(sys.argv[1:])
