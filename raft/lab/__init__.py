"""Where a cluster is broken on purpose, and what its clients saw is judged.

Owns what only tests, experiments and judges need: `simulated` worlds, `chaos` among real processes, `judging`
of histories, `pictures` of what happened. No node process imports it.
"""
