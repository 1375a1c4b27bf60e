"""Real processes under a schedule of faults, with clients whose every call is recorded.

Owns schedules, nemeses and workloads for a running cluster. Knows nothing of the rules for histories.
"""
