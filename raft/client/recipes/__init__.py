"""Recipes as in kazoo: barriers, counters, queues, parties and read-write locks, on keys and leases.

Each is written once, as steps (see steps), with a blocking and an asyncio class. Import them from
`raft.client`.
"""
