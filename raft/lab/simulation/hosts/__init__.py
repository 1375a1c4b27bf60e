"""Simulated hosts: processes, disks, workers and the network between them."""
