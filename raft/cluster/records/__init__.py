"""What happened in a cluster: events, leader report, logs."""
