"""What happened, made visible: timelines and reports.

Owns the drawing. Knows nothing of how it was measured or judged.
"""
