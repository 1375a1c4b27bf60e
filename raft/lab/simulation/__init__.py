"""A simulated world: production nodes, storage and machines; a clock, network and disk that obey a seed.

Owns all that makes one process behave like many that fail. Knows nothing of real processes.
"""
