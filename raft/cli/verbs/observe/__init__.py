"""Verbs that show what a cluster does."""
