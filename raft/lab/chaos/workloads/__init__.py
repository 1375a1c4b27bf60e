"""The operations of clients during faults, one module for each workload.

Owns the operations and their records. Knows nothing of faults.
"""
