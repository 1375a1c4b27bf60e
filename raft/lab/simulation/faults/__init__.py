"""The faults of a simulated run, and what carries them out."""
