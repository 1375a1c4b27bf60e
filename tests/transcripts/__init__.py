"""An interpreter for transcripts: commands to a Raft cluster, each with the exact answer it must give.

Owns the file format, the environment that the commands act on and the printed forms. Knows the core only
through its public calls; the protocol itself is not here.
`python -m tests.transcripts PATH...` runs files and folders.
"""
