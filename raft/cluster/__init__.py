"""What the launcher is made of: one machine's cluster of node processes, steered and watched.

Owns starting, supervising, breaking and observing nodes, and what a person types and reads.
Knows nothing of consensus: what nodes say about it arrives as reports.
"""
