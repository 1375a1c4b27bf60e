"""Actors with consensus or a disk beneath them: state that outlives them, one of a kind, and names to trust.

Owns what `actors` itself must not know: it is built on `actors`, on the client library and on the storage.
"""
