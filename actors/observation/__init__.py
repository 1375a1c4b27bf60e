"""What runs in a system of actors, seen from outside: who is busy, what waits, what one actor is told."""
