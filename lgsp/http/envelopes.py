"""`POST /v1/envelopes` in both wire forms, with `Prefer: wait`, and `GET /v1/envelopes/{env}`.

A call that waits asks the courier for the reply before the request is submitted, so that no answer is too quick for it.
"""

from __future__ import annotations

import re
from typing import Final

from aiohttp import web

from lgsp.bus.ingress import Receipted
from lgsp.bus.refusing import EnvelopeRefused
from lgsp.bus.supervisor import Bus
from lgsp.domain import admission, envelope, strictjson
from lgsp.domain.envelope import Wire
from lgsp.domain.exchange import Delivery, Exchange
from lgsp.errors import Refusal
from lgsp.http import frames, inbox
from lgsp.http.calls import ANOTHERS, JSON, Call, Content, EnvHash, Header, Nothing, json_of
from lgsp.http.forms import Accepted, Envelope, History, Replied
from lgsp.http.requests import integer, one_header, peer_of, presented_of, read_body, system_of
from lgsp.http.wiring import BUS, METRICS, SETTINGS

HEADER: Final = "lgsp-env"
STRUCTURED_ROOM: Final = 256
"""Member names and quotes of the structured form."""
WAIT_FORM: Final = re.compile(r"(?:^|[,;\s])wait\s*=\s*(\"?)([^\s,;\"]*)\1", re.IGNORECASE)


async def post_envelope(request: web.Request, _: Nothing) -> web.StreamResponse:
    """Submit an envelope: 202 with the receipt, or 200 with the reply when the caller waited and it came in time."""
    wait = _wait_of(request)
    wire = await wire_of(request)
    bus = request.app[BUS]
    check_connection(request, wire)
    asked = _request_in(bus, wire) if wait else None
    if asked is None:
        return _receipt_response(await _submit(request, wire))
    with bus.replies.expect(*asked.exchange_key) as waiter:
        receipted = await _submit(request, wire)
        if receipted.duplicate:
            # Nothing is waited for: whoever copied the bytes must not collect the answer, which is in the asker's inbox.
            return _receipt_response(receipted)
        with bus.figures.timed("reply"):
            reply = await waiter.wait(wait)
    if reply is None:
        return _receipt_response(receipted, applied=True)
    text = f'{{"receipt":{receipted.receipt},"reply":{{"envelope":{reply.wire.structured_text()},"receipt":{reply.receipt}}}}}'
    applied = {"Preference-Applied": f"wait={wait}"}
    return await inbox.hand_out(request, [reply], text, headers=applied, final=True)


def check_connection(request: web.Request, wire: Wire) -> None:
    """Refuse (`certificate_missing`, `certificate_mismatch`) an envelope over a connection that is not its signer's."""
    shown = presented_of(request)
    if shown is None:
        return
    bus = request.app[BUS]
    try:
        shown.check_envelope(wire, bus.registry.current)
    except Refusal as refusal:
        bus.refusals.count(refusal.code, peer_of(request))
        raise


async def wire_of(request: web.Request) -> Wire:
    """Return the envelope in a call, in either form; refuse (`bad_request`, `structured`, `too_large`) what holds none."""
    bus = request.app[BUS]
    largest = admission.largest_body(bus.registry.current, bus.limits)
    compact = one_header(request, HEADER)
    if request.content_type == envelope.MEDIA_TYPE:
        if compact is not None:
            raise Refusal("structured", f"{HEADER} and the structured form exclude each other")
        most = bus.limits.envelope_bytes + STRUCTURED_ROOM + (largest + 2) // 3 * 4
        return envelope.parse_structured(await read_body(request, most))
    if compact is None:
        raise Refusal("bad_request", f"an envelope comes with the header {HEADER}, or as {envelope.MEDIA_TYPE}")
    body = await read_body(request, largest)
    return Wire(compact=compact.encode("utf-8", "surrogateescape"), body=body)


def _wait_of(request: web.Request) -> int:
    """Return the seconds of `Prefer: wait=N` (RFC 7240), 0 when it is not asked for."""
    found = WAIT_FORM.search(",".join(request.headers.getall("Prefer", [])))
    return integer(found[2], 1, request.app[SETTINGS].wait_seconds, "wait") if found else 0


def _request_in(bus: Bus, wire: Wire) -> admission.Read | None:
    """Return the request that is to be awaited, None when it is none; its signature is checked first, for nobody may wait for another's reply."""
    directory = bus.registry.current
    read = admission.read(wire, directory, limits=bus.limits)
    if isinstance(read, admission.Refused) or read.manifest.is_reply:
        return None
    service = directory.services.get(read.manifest.type)
    return read if service is not None and service.reply_schemas else None


async def _submit(request: web.Request, wire: Wire) -> Receipted:
    metrics, bus = request.app[METRICS], request.app[BUS]
    try:
        with bus.figures.timed("submit"):
            receipted = await bus.ingress.submit(wire, peer=peer_of(request))
    except (EnvelopeRefused, Refusal):
        metrics.count_rejected()
        raise
    metrics.count_accepted(duplicate=receipted.duplicate)
    return receipted


def _receipt_response(receipted: Receipted, *, applied: bool = False) -> web.Response:
    headers = {"Location": f"/v1/envelopes/{receipted.env}"}
    if applied:
        headers["Preference-Applied"] = "wait"
    text = f'{{"receipt":{receipted.receipt}}}'
    return web.Response(status=202, text=text, content_type="application/json", headers=headers)


async def get_envelope(request: web.Request, _: Nothing) -> web.Response:
    """Tell sender and receiver what became of an envelope, with all its deliveries."""
    env = request.match_info["env"]
    system = await system_of(request)
    if envelope.HASH_FORM.fullmatch(env) is None:
        raise Refusal("not_found")
    exchange, deliveries = await request.app[BUS].progress.history(system, env)
    told = strictjson.compact(_exchange_members(exchange)).decode()
    rows = ",".join(_delivery_text(delivery) for delivery in deliveries)
    text = f'{told[:-1]},"receipt":{exchange.receipt or "null"},"deliveries":[{rows}]}}'
    return web.Response(text=text, content_type="application/json")


def _exchange_members(exchange: Exchange) -> dict[str, str | int | None]:
    return {
        "env": exchange.env,
        "id": exchange.id,
        "source": exchange.source,
        "type": exchange.type,
        "audience": exchange.audience,
        "accepted_at": envelope.format_time(exchange.accepted_at),
        "expires": envelope.format_time(exchange.expires),
        "reply_until": envelope.format_time(exchange.reply_until) if exchange.reply_until else None,
        "cause": exchange.cause or None,
        "reply": exchange.reply or None,
        "policy": exchange.policy,
        "rule": exchange.rule,
    }


def _delivery_text(delivery: Delivery) -> str:
    """Return a delivery without its lease, which is its holder's alone."""
    due = f'"{envelope.format_time(delivery.due_at)}"' if delivery.due_at else "null"
    return f'{frames.outcome_item(delivery)[:-1]},"attempts":{delivery.attempts},"due_at":{due}}}'


READ: Final = frozenset({
    "compact", "base64", "header_template", "typ", "kid_unknown", "key_role", "key_not_valid", "alg_mismatch", "signature", "structured",
    "json", "manifest", "source_not_owned", "datahash", "id_conflict",
})  # fmt: skip
JUDGED: Final = frozenset({
    "clock_ahead", "expired", "life_too_long", "type_unknown", "sender_suspended", "route", "audience_dissolved", "no_grant", "grant_ended",
    "purpose_not_granted", "legalbasis_not_granted", "procedure_not_granted", "officer_not_granted", "quota_exceeded", "reply_unasked",
    "reply_source", "reply_duplicate", "reply_late", "schema_unknown", "body_json", "body_nfc", "schema", "schema_unusable",
})  # fmt: skip
PLACED: Final = frozenset({"rate_limited", "inbox_full", "unavailable", "draining", "witness_away"})
"""What an envelope is refused as by the checks of protocol section 4, and where there is no room for it."""
FORMS: Final = (
    Content(media_type=JSON, words=f"The exact bytes of the body; the signed part stands in the header {HEADER}."),
    Content(media_type=envelope.MEDIA_TYPE, model=Envelope, words=f"Both parts; without the header {HEADER}."),
)
SIGNED_PART: Final = Header(
    name=HEADER,
    words="The compact JWS, at most 7,168 bytes: with the binary form alone.",
    pattern=r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+",
)
"""In which forms an envelope comes."""
APPLIED: Final = "`wait`, with the seconds where the reply came in time: the preference was taken into account."
CALLS: Final = (
    Call(
        method="POST",
        path="/v1/envelopes",
        run=post_envelope,
        query=Nothing,
        bodies=FORMS,
        headers=(
            SIGNED_PART,
            Header(
                name="Prefer",
                words="`wait=N`: for how many seconds, 1 to 60, the reply to a request is waited for (RFC 7240).",
                pattern="wait=([1-9]|[1-5][0-9]|60)",
            ),
        ),
        vi="Gửi một phong bì: 202 kèm biên nhận, hoặc 200 kèm trả lời nếu bên gọi chờ và trả lời đến kịp.",
        answers=(
            json_of(
                Accepted,
                "The envelope is accepted, or was accepted before.",
                status=202,
                headers={"Location": "Where its history is told.", "Preference-Applied": APPLIED},
            ),
            json_of(
                Replied, "The request is accepted, and this is the reply.", headers={"Preference-Applied": APPLIED}
            ),
        ),
        codes=READ | JUDGED | PLACED | ANOTHERS,
    ),
    Call(
        method="GET",
        path="/v1/envelopes/{env}",
        run=get_envelope,
        query=Nothing,
        vi="Cho bên gửi và bên nhận biết phong bì đã đi đến đâu, với mọi lượt giao.",
        answers=(json_of(History, "The exchange and its deliveries."),),
        codes=frozenset({"not_found"}),
        roles=frozenset({"system"}),
        places={"env": EnvHash},
    ),
)
