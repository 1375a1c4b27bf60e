"""Fault injection in a running cluster, and its removal."""
