"""How frames travel between processes: ZeroMQ, CURVE keys, peers, and a network in memory for tests."""
