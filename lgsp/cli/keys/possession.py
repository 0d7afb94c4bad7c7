"""Proof of possession (protocol section 8): who registers a public key shows that the private one is theirs.

It is an `lgsp-auth` statement of that key over its owner, its bus and its thumbprint, in the form of a call that no gateway serves. The registrar
may look at it days later, so its times are not judged: a proof says who holds a key, and that does not wear off.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from lgsp.domain import jws, statements, strictjson
from lgsp.domain.keys import PublicKey, Signer
from lgsp.errors import Refusal

METHOD: Final = "POST"
PATH: Final = "/keys/"


def prove(signer: Signer, *, owner: str, bus: str, at: datetime, jti: str) -> str:
    """Return the proof that whoever runs this holds the private key and means it for this owner on this bus."""
    return statements.sign_auth(
        signer=signer, iss=owner, aud=bus, method=METHOD, path=PATH + signer.kid, body=b"", at=at, jti=jti
    )


def is_proven(key: PublicKey, proof: str, *, owner: str, bus: str) -> bool:
    """Tell whether the proof is by this very key, for this owner on this bus."""
    try:
        parsed = jws.parse(proof.encode("ascii", "replace"), typ=statements.AUTH)
        jws.verify(parsed, key)
        claims = strictjson.parse_object(parsed.payload)
    except (Refusal, strictjson.NotStrict):
        return False
    stated = {name: claims.get(name) for name in ("iss", "aud", "method", "path")}
    return parsed.kid == key.kid and stated == {"iss": owner, "aud": bus, "method": METHOD, "path": PATH + key.kid}
