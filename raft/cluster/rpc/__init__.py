"""Requests to a running launcher, and their answers."""
