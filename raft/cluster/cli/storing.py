"""The verbs of the replicated store: put, get, del, cas.

Owns their command lines.
"""
