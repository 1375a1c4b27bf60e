"""Other actor libraries at the work of `python -m benchmarks actors --peer`: one program for each.

Each is run by its own interpreter, imports nothing of this project but `task`, and prints its figures.
"""
