"""Holds answers against the description of the calls that the gateway itself gives."""

from __future__ import annotations

import re
from typing import Any

import jsonschema_rs

from lgsp.testing.edge import Answer

UNDESCRIBED = {404: "not_found", 405: "method"}
"""What calls get that there are not."""
IN_BRACES = re.compile(r"\{(\w+)\}")


class Description:
    """An OpenAPI document as a judge of answers."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.seen: set[tuple[str, str, str]] = set()
        """Method, path and status of what was judged."""
        paths = sorted(document["paths"], key=lambda path: (path.count("{"), -len(path)))
        self._patterns = [(re.compile(_pattern(path)), path) for path in paths]
        self._validators: dict[tuple[str, str, str], Any] = {}

    def path_of(self, target: str) -> str | None:
        """Return the path of the document that a target is one of."""
        plain = target.partition("?")[0]
        return next((path for pattern, path in self._patterns if pattern.fullmatch(plain)), None)

    def complaints(self, method: str, target: str, answer: Answer) -> list[str]:
        """Return in what an answer differs from what is described; nothing when it is as it should be."""
        path = self.path_of(target)
        operation = self.document["paths"].get(path, {}).get(method.lower())
        if path is None or operation is None:
            return (
                [] if UNDESCRIBED.get(answer.status) == answer.code else [f"{method} {target}: there is no such call"]
            )
        described = operation["responses"].get(str(answer.status))
        if described is None:
            return [f"{method} {path}: {answer.status} is not described: {answer.body[:300]!r}"]
        self.seen.add((method, path, str(answer.status)))
        missing = [name for name in described["headers"] if name not in answer.headers and name in ALWAYS_THERE]
        found = self._told(method, path, answer, described["content"])
        return [f"{method} {path} {answer.status}: {each}" for each in [*found, *missing]]

    def _told(self, method: str, path: str, answer: Answer, content: dict[str, Any]) -> list[str]:
        media = answer.headers["Content-Type"].partition(";")[0]
        if media not in content:
            return [f"{media} is not described"]
        if not media.endswith("json") or not (schema := content[media]["schema"]):
            return []
        key = (method, path, str(answer.status))
        if key not in self._validators:
            whole = {"components": self.document["components"], **schema}
            self._validators[key] = jsonschema_rs.Draft202012Validator(whole)
        return [error.message for error in self._validators[key].iter_errors(answer.members)]


ALWAYS_THERE = {"X-Request-Id", "Content-Language", "WWW-Authenticate", "Retry-After", "Location"}


def _pattern(path: str) -> str:
    """Return the expression for a path; the number of a tile may have several segments."""
    parts = IN_BRACES.split(path)
    names = iter(parts[1::2])
    found = re.escape(parts[0])
    for text in parts[2::2]:
        found += (".+" if next(names) == "number" else "[^/]+") + re.escape(text)
    return found
