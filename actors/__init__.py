"""Actors: private state behind a mailbox, in this process or in another one.

An actor is told things and tells others; it runs one message at a time on one thread, is
addressed by a value that can be sent, is watched, and is restarted by whoever started it.
Delivery is at most once, and in order per live pair. Knows nothing of what is built on it.
"""
