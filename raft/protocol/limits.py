"""How large the values in a message may be, as types: what is beyond them is refused when it is decoded.

Owns the bounds that hold for messages of every sender: every number that was accepted can
be stored, added to and sent on, and every time is a finite one. Knows nothing of what the values mean; each
request's own limits, and the errors that explain them, are where the request is carried out.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

NUMBER_MAX = 2**62
SECONDS_MAX = 1e9

Number = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]
"""An id, an index, a term or a count: it can be counted on from without leaving 64 bits."""

SignedNumber = Annotated[int, Meta(ge=-NUMBER_MAX, le=NUMBER_MAX)]
"""A number that is checked later, so that the error can explain a negative one."""

Seconds = Annotated[float, Meta(ge=0.0, le=SECONDS_MAX)]
"""A duration, or a moment of a monotonic clock: neither negative nor infinite, and no NaN."""

Probability = Annotated[float, Meta(ge=0.0, le=1.0)]

Rate = Annotated[float, Meta(ge=0.0, le=1_000.0)]

Pid = Annotated[int, Meta(ge=0, le=2**31 - 1)]

Name = Annotated[str, Meta(max_length=1_000)]
"""An endpoint, a reason, or another short text."""

Selector = Annotated[str, Meta(max_length=20_000)]
"""Nodes as they are typed: all ids of a large cluster, with commas."""
