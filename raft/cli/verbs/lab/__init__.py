"""Verbs that inject faults, simulate, and judge what came of it."""
