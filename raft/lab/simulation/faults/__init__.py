"""The faults of a simulated run, and their execution."""
