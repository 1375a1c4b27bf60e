"""What is asked of a node, and how each kind of request is answered."""
