"""When a node campaigns early, hands leadership over, or shuts down."""
