"""The version of this release. Owns the constant, which a test holds to be that of pyproject.toml.

A constant, since a node tells it too, and must not read the package's description while it elects.
"""

VERSION = "0.2.0"
