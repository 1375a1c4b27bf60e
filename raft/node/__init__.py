"""One Raft node as a process: the actor that acts on what the core decides, and what it is made of."""
