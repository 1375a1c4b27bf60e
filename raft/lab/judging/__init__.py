"""What clients asked and were told, and whether it could have happened.

Owns histories and their judges. Knows nothing of how the clusters were made, or broken.
"""
