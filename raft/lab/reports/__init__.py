"""Timelines and reports of runs.

Owns the drawing. Knows nothing of how a run was measured or checked.
"""
