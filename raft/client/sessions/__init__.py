"""Sessions, leases, locks and elections, for blocking programs and for event loops."""
