"""Who takes part in the floor, and with which keys: made for one run, handed to each process as seeds."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, Final

from lgsp.domain import keys, strictjson
from lgsp.domain.contracts import Contracts
from lgsp.domain.keys import PrivateKey, PublicKey
from tests.bench.made_up import DOCUMENT, SCHEMA

SENDER: Final = "urn:lgsp:agency:H01.99:sys:sender-0"
RECEIVER: Final = "urn:lgsp:agency:H01.99:sys:receiver-0"
GATEWAY: Final = "urn:lgsp:bus:91:gw:a"
LOG: Final = "lgsp.example.vn/91/2026"
PARTIES: Final = ("sender", "receiver", "gateway")


def new_seeds() -> dict[str, str]:
    """Return a seed for each party."""
    return {party: secrets.token_hex(32) for party in PARTIES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring:
    """One party's own key and everybody's public keys."""

    own: PrivateKey
    public: dict[str, PublicKey]

    @classmethod
    def of(cls, plan: dict[str, Any], party: str) -> Ring:
        held = {name: keys.ed25519_from_seed(bytes.fromhex(seed)) for name, seed in plan["seeds"].items()}
        return cls(own=held[party], public={name: key.public for name, key in held.items()})


def contracts() -> Contracts:
    """Return the compiled contract of what is sent."""
    return Contracts({SCHEMA: strictjson.compact(DOCUMENT)})
