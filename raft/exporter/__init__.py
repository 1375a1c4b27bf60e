"""Metrics and health of a cluster over HTTP: the nodes are asked when a scrape or a probe comes."""
