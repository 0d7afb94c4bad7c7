"""Signed JSON as joserfc makes and reads it."""

from __future__ import annotations

import json
from typing import Any, Final

from joserfc import jws
from joserfc.jwk import OKPKey

ALGORITHM: Final = "Ed25519"
QUEUE: Final = "glue"


def signed(value: Any, key: OKPKey) -> str:
    """Return a compact JWS over a value."""
    return jws.serialize_compact({"alg": ALGORITHM}, json.dumps(value), key, algorithms=[ALGORITHM])


def verified(compact: str | bytes, key: OKPKey) -> Any:
    """Return the value of a compact JWS whose signature is good."""
    return json.loads(jws.deserialize_compact(compact, key, algorithms=[ALGORITHM]).payload)
