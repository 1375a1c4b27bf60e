"""Recipes, as kazoo has them: barriers, counters, queues, parties and read-write locks, over keys and leases.

Each is written once, as steps (see steps), with a blocking and an asyncio face. They are imported from
`raft.client`.
"""
