"""What a stranger, a client or a peer sends can end nothing and changes nothing that it may not."""
