"""Raft as actors in processes of their own. Importing this package loads nothing; import what you need."""
