"""What travels between nodes, clients and launchers."""
