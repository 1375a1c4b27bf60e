"""What is broken on purpose in a running cluster, and how it is mended."""
