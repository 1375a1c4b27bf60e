"""Raft for Python programs: a pure core, durable storage, deterministic machines, nodes and clients.

Importing this package loads none of them; each part is imported by its own name.
"""
