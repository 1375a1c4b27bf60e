"""What becomes of failures: supervision, links, crash reports and messages that reach no handler."""
