"""Starting, stopping, pausing and restarting node processes."""
