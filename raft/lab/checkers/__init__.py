"""What clients asked and were told, and whether it could have happened.

Owns histories and their judges: `records` reads and writes the file, `judge.judge` gives the verdict, the
other modules hold one rule each. Knows nothing of how the clusters were made, or broken.
"""
