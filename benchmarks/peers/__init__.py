"""The same work for this project and for others that elect and replicate, in turn, in one run.

A file a peer; `python -m benchmarks` runs them (benchmarks/compare.py), docs/performance.md has the figures.
"""
