"""Worlds in which to break a cluster: simulated disks first.

Owns what only tests, simulations and judges need. No node process imports it.
"""
