"""What clients do while a cluster is broken, one module for each workload.

Owns the operations, and how what was answered is written down. Knows nothing of faults.
"""
