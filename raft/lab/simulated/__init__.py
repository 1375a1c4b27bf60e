"""A simulated world: the production node, storage and machine, with a clock, network and disk that obey a seed.

Owns all that makes one process behave like many that fail. Knows nothing of real processes.
"""
