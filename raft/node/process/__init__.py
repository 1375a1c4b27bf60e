"""A node as an operating-system process: start, data directory, repair, fault injection, exit codes."""
