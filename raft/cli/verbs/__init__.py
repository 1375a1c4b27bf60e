"""The verbs, in folders by task: one module for each group of them, named after it."""
