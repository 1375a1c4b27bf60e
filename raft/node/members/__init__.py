"""The members of a cluster, as a node knows them: who they are, where, which are up, and how that changes."""
