"""Histories of what clients asked and were told, and their checkers.

Owns histories and their checkers: `records` reads and writes the file, `judge.judge` gives the verdict, the
other modules hold one rule each. Knows nothing of clusters or faults.
"""
