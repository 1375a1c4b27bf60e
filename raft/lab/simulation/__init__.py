"""A simulated world: production nodes, storage and machines on a seeded clock, network and disk.

Owns everything that makes one process behave like many that fail. Knows nothing of real processes.
"""
