"""Verbs on what a cluster stores: keys, leases, locks and elections."""
