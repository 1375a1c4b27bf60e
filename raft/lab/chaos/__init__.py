"""Real processes, broken on purpose by a schedule, under clients whose every call is recorded.

Owns schedules, nemeses and workloads for a running cluster. Knows nothing of what a history must look like.
"""
