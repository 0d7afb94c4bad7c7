"""The log to outsiders: checkpoint and proof for anyone, entries in bundles for auditors (protocol section 7). Searching is `entry_search`'s."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from lgsp.domain import tiles
from lgsp.domain.tiles import Tile
from lgsp.errors import Refusal
from lgsp.http.catalogue import FOREVER
from lgsp.http.requests import caller_of, integer, query_of
from lgsp.http.wiring import BUS

INDEX_MAX: Final = 2**63 - 1


async def get_checkpoint(request: web.Request) -> web.Response:
    """Give the signed checkpoint (C2SP signed note) over all committed entries, with `witnessed=true` the newest that the witness has co-signed."""
    auditor = request.app[BUS].auditor
    witnessed = _is_witnessed(query_of(request, "witnessed"))
    note = await (auditor.witnessed() if witnessed else auditor.shown())
    return web.Response(text=note, content_type="text/plain")


def _is_witnessed(query: Mapping[str, str]) -> bool:
    asked = query.get("witnessed", "false")
    if asked not in {"true", "false"}:
        raise Refusal("bad_request", "witnessed is true or false")
    return asked == "true"


async def get_proof(request: web.Request) -> web.Response:
    """Give the inclusion proof of the entry at `index` (c2sp.org/tlog-proof@v1), with `witnessed=true` under the newest co-signed checkpoint."""
    query = query_of(request, "index", "witnessed")
    if "index" not in query:
        raise Refusal("bad_request", "index is missing")
    index = integer(query["index"], 0, INDEX_MAX, "index")
    proof = await request.app[BUS].auditor.proof(index, witnessed=_is_witnessed(query))
    return web.Response(text=proof, content_type="text/plain")


async def get_tile(request: web.Request) -> web.Response:
    """Give a tile of the tree's hashes (C2SP tlog-tiles)."""
    query_of(request)
    level = integer(request.match_info["level"], 0, tiles.LEVELS - 1, "a level")
    found = _tile(level, request.match_info["number"])
    return web.Response(body=await request.app[BUS].auditor.tile(found), headers={"Cache-Control": FOREVER})


async def get_entry_bundle(request: web.Request) -> web.Response:
    """Give an auditor the entries of a tile, each after its length (C2SP tlog-tiles)."""
    query_of(request)
    caller = await caller_of(request)
    found = _tile(0, request.match_info["number"])
    return web.Response(body=await request.app[BUS].auditor.entry_bundle(caller, found))


def _tile(level: int, text: str) -> Tile:
    try:
        number, width = tiles.read_number(text)
    except ValueError:
        raise Refusal("not_found", "a tile is named like 067, x001/x234/067 or 067.p/12") from None
    return Tile(level=level, number=number, width=width)
