"""A cluster as it lives: one feed of pictures and events, shown by a page, a terminal view and a tour."""
