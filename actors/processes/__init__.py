"""Actors in processes of their own: the fork server, child processes, their supervision."""
