"""What is asked of a running launcher, and how it answers."""
