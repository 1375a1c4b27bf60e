"""The record of a cluster: events, leader report, logs."""
