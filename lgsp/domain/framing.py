"""How the frames of a stream lie in the messages of its WebSocket (protocol section 6): one in each, or several in a JSON array.

Groups are agreed upon by the subprotocol, so that who knows nothing of them is spoken to as before. A message costs both ends some ten
microseconds, whatever is in it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from lgsp.domain import strictjson
from lgsp.domain.limits import LIMITS

SINGLE: Final = "lgsp.v1"
"""The subprotocol with one frame in each message."""
GROUPED: Final = "lgsp.v1.groups"
"""The subprotocol with groups of frames."""
SUBPROTOCOLS: Final = (GROUPED, SINGLE)
"""All of them, the best first."""


def next_group(waiting: deque[bytes], *, grouped: bool) -> list[bytes]:
    """Take the frames of the next message off those that wait: at least one, of several at most `group_frames` and `group_bytes`."""
    group = [waiting.popleft()]
    size = len(group[0])
    while grouped and waiting and len(group) < LIMITS.group_frames and size + len(waiting[0]) <= LIMITS.group_bytes:
        group.append(waiting.popleft())
        size += len(group[-1])
    return group


def message_of(group: Sequence[bytes]) -> bytes:
    """Return the message in which these frames go; a frame alone is a message as it is."""
    return group[0] if len(group) == 1 else b"[" + b",".join(group) + b"]"


def frames_of(message: bytes, *, depth: int, grouped: bool) -> list[dict[str, Any]]:
    """Return the frames of a message in their order, each nested at most `depth` levels.

    Raises `NotStrict` for what is no strict JSON, no object with a text `op`, or a group of none or of more than `group_frames`.
    """
    is_group = grouped and message.startswith(b"[")
    value = strictjson.parse(message, depth=depth + 1 if is_group else depth)
    frames = value if is_group else [value]
    if not 0 < len(frames) <= LIMITS.group_frames:
        raise strictjson.NotStrict("no frames, or too many")
    for frame in frames:
        if not isinstance(frame, dict):
            raise strictjson.NotStrict("a frame is no object")
        if not isinstance(frame.get("op"), str):
            raise strictjson.NotStrict("a frame has no op")
    return frames
