"""The command line: verbs typed at a shell or at the launcher's own prompt.

Owns parsing, printing and exit codes. Every verb is one short function that asks the cluster package for what
it prints. Only this package loads typer, and nothing in a node does.
"""
