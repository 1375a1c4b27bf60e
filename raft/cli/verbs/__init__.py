"""The verbs: one module for each group of them, named after it."""
