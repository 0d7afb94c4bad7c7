"""From a work-list to the answer of the provincial police. Pure."""

from collections.abc import Mapping
from typing import Any

from adapters.owner_lists import complete


def owner_list_reply(request: Mapping[str, Any], known: Mapping[str, str]) -> dict[str, Any]:
    """Answer every row of the request from the numbers known by registration."""
    return complete(request, known)
