"""Refusals as RFC 9457 problem+json, in the language the caller asked for. What is refused, and why, is decided elsewhere."""

from __future__ import annotations

import math
from typing import Final

from aiohttp import web

from lgsp.domain import strictjson
from lgsp.errors import Language, Refusal

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER: Final = {429: "60", 503: "2"}
"""Seconds after which a repetition makes sense, by status."""


def language_of(accept: str) -> Language:
    """Return the language of an `Accept-Language` header (RFC 9110 12.5.4): Vietnamese when it is preferred to English, else English."""
    weights = {"vi": 0.0, "en": 0.0}
    for part in accept.split(",")[:20]:
        name, _, parameter = part.strip().partition(";")
        primary = name.split("-")[0].lower()
        if primary in weights:
            weights[primary] = max(weights[primary], _weight(parameter))
    return "vi" if weights["vi"] > weights["en"] else "en"


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name != "q":
        return 1.0
    try:
        weight = float(value)
    except ValueError:
        return 0.0
    return weight if math.isfinite(weight) else 0.0


def problem_text(refusal: Refusal, *, language: Language, request_id: str, receipt: str = "") -> str:
    """Return the problem's JSON text; `receipt` is the JSON text of a statement, and stands in it byte for byte."""
    text = strictjson.compact(refusal.problem(language) | {"request_id": request_id}).decode()
    return f'{text[:-1]},"receipt":{receipt}}}' if receipt else text


def problem_response(refusal: Refusal, *, language: Language, request_id: str, receipt: str = "") -> web.Response:
    """Return the answer that carries the problem, with the headers that its status asks for."""
    status = refusal.entry.status
    headers = {"Content-Language": language, "Vary": "Accept-Language"}
    if status == web.HTTPUnauthorized.status_code:
        headers["WWW-Authenticate"] = "LGSP"
    if status in RETRY_AFTER:
        headers["Retry-After"] = str(refusal.facts.get("retry_after", RETRY_AFTER[status]))
    text = problem_text(refusal, language=language, request_id=request_id, receipt=receipt)
    return web.Response(status=status, text=text, content_type=MEDIA_TYPE, headers=headers)
