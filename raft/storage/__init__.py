"""What a node must find again after a crash: term, vote, log and snapshots, in memory or on disk.

Owns durability and its file formats. Knows the core's values only, never its decisions.
"""
