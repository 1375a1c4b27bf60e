"""The process's limit of open descriptors: raised as far as the process may do so by itself.

Owns that one step. Most systems begin with a soft limit of 1,024, which only programs that use select()
need, and a hard one that is far higher.
"""

from __future__ import annotations

import contextlib
import resource


def raise_descriptor_limit() -> int:
    """Raise the soft limit to the hard one; returns the limit that holds now. Children inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):  # As good as it was.
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
