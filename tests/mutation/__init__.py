"""Mutations of the core that the tests must notice.

`python -m tests.mutation [NAME...]` breaks a copy of the core in one place at a time, runs a fast part of the
tests against it, and prints which mutants were killed. Survivors are explained in `survivors.txt`.
"""
