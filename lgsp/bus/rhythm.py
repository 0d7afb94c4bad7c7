"""When something that is done every so often is due again."""

from __future__ import annotations

from datetime import datetime, timedelta


def is_due(last: datetime | None, now: datetime, every: timedelta) -> bool:
    """Tell whether it is, done last at a moment or never yet; a clock that was put back makes it due at once."""
    return last is None or not timedelta(0) <= now - last < every
