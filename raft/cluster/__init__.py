"""The launcher's parts: a cluster of node processes on one machine, controlled and observed.

Owns starting, supervising, fault injection and observation of nodes.
Knows nothing of consensus: nodes report what concerns it.
"""
