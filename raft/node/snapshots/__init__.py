"""Taking, sending, receiving and installing snapshots."""
