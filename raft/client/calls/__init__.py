"""Encoding, asking and decoding of each call, as step generators that both clients run."""
