"""Watches at the client: subscriptions shared by its iterators."""
