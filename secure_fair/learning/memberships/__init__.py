"""The ways by which memberships reach a method: by moments, rows, responses, or a histogram of groups by cells."""

from __future__ import annotations

from secure_fair.learning.memberships.histogram import HistogramSource
from secure_fair.learning.memberships.moments import MomentSource
from secure_fair.learning.memberships.responses import ResponseSource
from secure_fair.learning.memberships.rows import RowSource
from secure_fair.learning.memberships.source import MembershipSource

SOURCES: dict[str, type[MembershipSource]] = {
    "moments": MomentSource,
    "rows": RowSource,
    "attributes": ResponseSource,
    "histogram": HistogramSource,
}
