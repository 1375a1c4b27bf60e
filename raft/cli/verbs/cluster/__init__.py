"""Verbs that start, end, change and save a cluster."""
