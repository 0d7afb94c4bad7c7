"""The log to outsiders: checkpoint and proof for anyone, entries in bundles for auditors (protocol section 7). Searching is `entry_search`'s."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from aiohttp import web
from pydantic import Field

from lgsp.domain import tiles
from lgsp.domain.tiles import Tile
from lgsp.errors import Refusal
from lgsp.http.calls import DIGITS, Answer, Call, Content, Form, Nothing, Role
from lgsp.http.catalogue import FOREVER
from lgsp.http.requests import caller_of, integer
from lgsp.http.wiring import BUS

INDEX_MAX: Final = 2**63 - 1


class CheckpointQuery(Form):
    """Whether the checkpoint has to be one that the witness has co-signed."""

    witnessed: Literal["true", "false"] = "false"


class ProofQuery(CheckpointQuery):
    """Of which entry."""

    index: Annotated[int, Field(ge=0, le=INDEX_MAX), DIGITS]


async def get_checkpoint(request: web.Request, query: CheckpointQuery) -> web.Response:
    """Give the signed checkpoint (C2SP signed note) over all committed entries, with `witnessed=true` the newest that the witness has co-signed."""
    auditor = request.app[BUS].auditor
    note = await (auditor.witnessed() if query.witnessed == "true" else auditor.shown())
    return web.Response(text=note, content_type="text/plain")


async def get_proof(request: web.Request, query: ProofQuery) -> web.Response:
    """Give the inclusion proof of the entry at `index` (c2sp.org/tlog-proof@v1), with `witnessed=true` under the newest co-signed checkpoint."""
    proof = await request.app[BUS].auditor.proof(query.index, witnessed=query.witnessed == "true")
    return web.Response(text=proof, content_type="text/plain")


async def get_tile(request: web.Request, _: Nothing) -> web.Response:
    """Give a tile of the tree's hashes (C2SP tlog-tiles)."""
    level = integer(request.match_info["level"], 0, tiles.LEVELS - 1, "a level")
    found = _tile(level, request.match_info["number"])
    return web.Response(body=await request.app[BUS].auditor.tile(found), headers={"Cache-Control": FOREVER})


async def get_entry_bundle(request: web.Request, _: Nothing) -> web.Response:
    """Give an auditor the entries of a tile, each after its length (C2SP tlog-tiles)."""
    caller = await caller_of(request)
    found = _tile(0, request.match_info["number"])
    return web.Response(body=await request.app[BUS].auditor.entry_bundle(caller, found))


def _tile(level: int, text: str) -> Tile:
    try:
        number, width = tiles.read_number(text)
    except ValueError:
        raise Refusal("not_found", "a tile is named like 067, x001/x234/067 or 067.p/12") from None
    return Tile(level=level, number=number, width=width)


Number = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{3}$",
        description=(
            "The number of a tile. From 1,000 on it stands in several segments, as in `x001/234`; of a tile that is not full yet the end names how "
            "many hashes, as in `067.p/12` (C2SP tlog-tiles). Both hold slashes, which a parameter of this description cannot."
        ),
    ),
]
Level = Annotated[int, Field(ge=0, lt=tiles.LEVELS)]
BYTES: Final = "application/octet-stream"
TEXT: Final = "text/plain"
_AUDITORS: Final[frozenset[Role]] = frozenset({"auditor"})
_MISSING: Final = frozenset({"not_found", "unavailable"})
CALLS: Final = (
    Call(
        method="GET",
        path="/v1/audit/checkpoint",
        run=get_checkpoint,
        query=CheckpointQuery,
        vi="Cho điểm chốt đã ký trên mọi mục nhật ký, hoặc điểm chốt mới nhất có chữ ký của nhân chứng.",
        answers=(Answer(words="The checkpoint.", content=Content(media_type=TEXT, words="A C2SP signed note.")),),
        codes=_MISSING,
    ),
    Call(
        method="GET",
        path="/v1/audit/proof",
        run=get_proof,
        query=ProofQuery,
        vi="Cho bằng chứng rằng một mục nằm trong nhật ký.",
        answers=(Answer(words="The proof.", content=Content(media_type=TEXT, words="A c2sp.org/tlog-proof@v1 text.")),),
        codes=_MISSING,
    ),
    Call(
        method="GET",
        path="/v1/audit/tile/entries/{number}",
        pattern="/v1/audit/tile/entries/{number:.+}",
        run=get_entry_bundle,
        query=Nothing,
        vi="Cho kiểm toán viên các mục nhật ký của một ô; việc đọc cũng được ghi lại.",
        answers=(
            Answer(
                words="The entries.",
                content=Content(media_type=BYTES, words="Each entry after its length in two bytes (C2SP tlog-tiles)."),
            ),
        ),
        codes=_MISSING,
        roles=_AUDITORS,
        places={"number": Number},
    ),
    Call(
        method="GET",
        path="/v1/audit/tile/{level}/{number}",
        pattern="/v1/audit/tile/{level}/{number:.+}",
        run=get_tile,
        query=Nothing,
        vi="Cho một ô các mã băm của cây nhật ký.",
        answers=(
            Answer(
                words="The hashes.",
                content=Content(media_type=BYTES, words="Hashes of 32 bytes one after the other (C2SP tlog-tiles)."),
            ),
        ),
        codes=_MISSING,
        places={"level": Level, "number": Number},
    ),
)
