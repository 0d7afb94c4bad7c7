"""Who may send what to whom: routes and grants. Deny by default; a yes names the rule it used (protocol section 4, step 13, and section 5)."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from lgsp.domain import names
from lgsp.domain.directory import Directory, day_of, left_of_day
from lgsp.domain.envelope import Manifest
from lgsp.domain.exchange import Exchange
from lgsp.domain.records import GrantRecord, Lane, ServiceRecord
from lgsp.domain.values import fixed
from lgsp.errors import Refusal

UsedToday = Callable[[str], int]
"""How many exchanges a grant (by its id) was used for today."""

DECIDED_MOST: Final = 4_096
"""Answers about one version of the directory that are remembered; programs ask the same few again and again."""
STATED: Final = ("purpose", "legalbasis", "procedure", "authid")
"""The attributes that a grant allows by their values."""


@fixed
class Target:
    """One delivery to make: for `receiver`, into the inbox of `inbox` (itself or its bridge)."""

    receiver: str
    inbox: str
    subscription: str = ""
    """The id of the subscription that makes it, for an event."""


@fixed
class Leave:
    """A yes: the service, where it goes, and the rule that allowed it ("" for a reply, which its request allows)."""

    service: ServiceRecord
    targets: tuple[Target, ...]
    rule: str
    lane: Lane
    reply_until: datetime | None

    @property
    def is_event(self) -> bool:
        """Whether it goes to subscribers, of whom none may hold up the others."""
        return any(target.subscription for target in self.targets)


def service_of(directory: Directory, manifest: Manifest) -> ServiceRecord:
    """Return the contract of the manifest's type, that of the request for a reply; refuse as `type_unknown`."""
    service = directory.services.get(names.request_type(manifest.type))
    if service is None or (manifest.is_reply and not service.reply_schemas):
        raise Refusal("type_unknown", pointer="/type")
    return service


@fixed
class _Way:
    """Where requests or events of one kind go, and the grant that allows them."""

    service: ServiceRecord
    targets: tuple[Target, ...]
    grant: GrantRecord


def allow_request(directory: Directory, manifest: Manifest, *, now: datetime, used: UsedToday) -> Leave:
    """Return the leave for a request or event, or refuse with the code of what is missing."""
    way = _way(directory, manifest, now=now, used=used)
    service, grant = way.service, way.grant
    reply_until = now + timedelta(seconds=service.reply_within) if service.reply_schemas else None
    return Leave(
        service=service, targets=way.targets, rule=grant.id, lane=grant.lane or service.lane, reply_until=reply_until
    )


def _way(directory: Directory, manifest: Manifest, *, now: datetime, used: UsedToday) -> _Way:
    """Return the way of a request or event; one to a single receiver that no quota touches is remembered."""
    question = _question(manifest, now)
    known: _Way | None = directory.decided.get(question)
    if known is not None:
        return known
    service = service_of(directory, manifest)
    _check_sender(directory, manifest.source, now)
    targets = route(directory, manifest.audience, manifest.type, now)
    grant = find_grant(directory, manifest, service, now=now, used=used)
    way = _Way(service=service, targets=targets, grant=grant)
    # What goes to many names them all, and would be kept once for each sender and purpose.
    if len(targets) == 1 and not is_counted(directory, manifest):
        if len(directory.decided) >= DECIDED_MOST:
            directory.decided.clear()
        directory.decided[question] = way
    return way


def _question(manifest: Manifest, now: datetime) -> tuple[Hashable, ...]:
    """Return all that a request or event and its time say to `route` and `find_grant`; what these come to read beyond it belongs in here."""
    stated = manifest.attributes
    return (
        *(manifest.source, manifest.audience, manifest.type, day_of(now), bool(stated.get("casefile"))),
        *map(stated.get, STATED),
    )


def allow_reply(directory: Directory, manifest: Manifest, request: Exchange | None, *, now: datetime) -> Leave:
    """Return the leave for a reply: its request is its grant. Refuse as `reply_unasked|reply_source|reply_duplicate|reply_late`."""
    service = service_of(directory, manifest)
    if request is None or names.reply_type(request.type) != manifest.type or request.reply_until is None:
        raise Refusal("reply_unasked", pointer="/causationid")
    if not _may_answer(directory, manifest.source, request, now):
        raise Refusal("reply_source", pointer="/source")
    if request.reply:
        raise Refusal("reply_duplicate", pointer="/causationid")
    if now > request.reply_until:
        raise Refusal("reply_late", pointer="/causationid")
    refuse_suspended(directory, manifest.source)
    targets = (_target(directory, manifest.audience, manifest.type),)
    return Leave(
        service=service, targets=targets, rule="", lane=_lane_of(directory, request) or service.lane, reply_until=None
    )


def _lane_of(directory: Directory, request: Exchange) -> Lane | None:
    """Return the lane that the grant of a request sets, which its reply takes too: whoever asks in bulk is answered in bulk."""
    held = (
        grant
        for grantee in (request.source, names.agency_of(request.source))
        for grant in directory.grants.get((grantee, request.type), ())
    )
    return next((grant.lane for grant in held if grant.id == request.rule), None)


def _may_answer(directory: Directory, source: str, request: Exchange, now: datetime) -> bool:
    """Tell whether `source` was asked, or belongs to an heir of a dissolved agency that was."""
    if source in request.receivers:
        return True
    asked = (directory.agencies.get(names.agency_of(receiver)) for receiver in request.receivers)
    heirs = {
        heir
        for agency in asked
        if agency is not None and not agency.exists_on(day_of(now))
        for heir in agency.successors
    }
    return names.agency_of(source) in heirs


def _check_sender(directory: Directory, source: str, now: datetime) -> None:
    refuse_suspended(directory, source)
    if not _is_living(directory, source, now):
        raise Refusal("sender_suspended", "the agency opens no new exchanges", pointer="/source")


def refuse_suspended(directory: Directory, source: str) -> None:
    """Refuse (`sender_suspended`) a system that is suspended or not registered; applies to who states and to who signs."""
    system = directory.systems.get(source)
    if system is None or system.status == "suspended":
        raise Refusal("sender_suspended", "the system is not active", pointer="/source")


def route(directory: Directory, audience: str, message_type: str, now: datetime) -> tuple[Target, ...]:
    """Return where a message to `audience` goes: one system, or every subscriber of a topic; refuse as `route` or `audience_dissolved`."""
    if audience.startswith("urn:lgsp:topic:"):
        if audience.removeprefix("urn:lgsp:topic:") != message_type:
            raise Refusal("route", "a topic takes the type it is named after", pointer="/audience")
        return _subscribers(directory, message_type, now)
    agency = _living_agency(directory, names.agency_of(audience), now)
    if names.is_system(audience) and agency == names.agency_of(audience):
        return (_target_consuming(directory, audience, message_type),)
    consumers = [
        urn for urn in directory.systems if names.agency_of(urn) == agency and _consumes(directory, urn, message_type)
    ]
    if len(consumers) != 1:
        raise Refusal("route", "none or several systems of the agency take this type", pointer="/audience")
    return (_target(directory, consumers[0], message_type),)


def _subscribers(directory: Directory, message_type: str, now: datetime) -> tuple[Target, ...]:
    """Return a target for each subscriber in force: who is suspended, or whose agency is no more, gets nothing that is sent meanwhile."""
    held = directory.subscriptions.get(message_type, ())
    return tuple(
        replace(_target(directory, each.subscriber, message_type), subscription=each.id)
        for each in held
        if directory.systems[each.subscriber].status == "active" and _is_living(directory, each.subscriber, now)
    )


def _is_living(directory: Directory, system: str, now: datetime) -> bool:
    agency = directory.agencies.get(names.agency_of(system))
    return agency is not None and agency.exists_on(day_of(now))


def _living_agency(directory: Directory, urn: str, now: datetime) -> str:
    agency = directory.agencies.get(urn)
    if agency is None:
        raise Refusal("route", "the agency is not registered", pointer="/audience")
    if agency.exists_on(day_of(now)):
        return urn
    heir = directory.agencies.get(agency.successors[0]) if len(agency.successors) == 1 else None
    if heir is None or not heir.exists_on(day_of(now)):
        raise Refusal("audience_dissolved", pointer="/audience", successors=list(agency.successors))
    return heir.id


def _target_consuming(directory: Directory, system: str, message_type: str) -> Target:
    if not _consumes(directory, system, message_type):
        raise Refusal("route", "the system does not take this type", pointer="/audience")
    return _target(directory, system, message_type)


def _consumes(directory: Directory, system: str, message_type: str) -> bool:
    record = directory.systems.get(system)
    if record is None or record.status == "suspended":
        return False
    return any(names.type_matches(message_type, pattern) for pattern in record.consumes)


def _target(directory: Directory, system: str, message_type: str) -> Target:
    return Target(receiver=system, inbox=directory.bridge_for(system, message_type) or system)


def find_grant(
    directory: Directory, manifest: Manifest, service: ServiceRecord, *, now: datetime, used: UsedToday
) -> GrantRecord:
    """Return the first grant, by id, that allows the manifest; where none does, refuse by the grant that came furthest."""
    furthest: tuple[int, Refusal] | None = None
    for grant in sorted(_grants_of(directory, manifest), key=lambda grant: grant.id):
        refused = _first_objection(directory, grant, manifest, service, now=now, used=used)
        if refused is None:
            return grant
        if furthest is None or refused[0] > furthest[0]:
            furthest = refused
    raise Refusal("no_grant") if furthest is None else furthest[1]


def is_counted(directory: Directory, manifest: Manifest) -> bool:
    """Tell whether a grant that may allow the manifest states a quota."""
    if directory.counted.isdisjoint(_grantees(manifest)):
        return False
    return any(grant.quota_per_day is not None for grant in _grants_of(directory, manifest))


def _grants_of(directory: Directory, manifest: Manifest) -> list[GrantRecord]:
    audiences = {manifest.audience, names.agency_of(manifest.audience)}
    return [
        grant
        for grantee in _grantees(manifest)
        for grant in directory.grants.get(grantee, ())
        if grant.audience in audiences
    ]


def _grantees(manifest: Manifest) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return the (grantee, type) of the grants that may allow a manifest: to its source, or to the agency of that."""
    return (manifest.source, manifest.type), (names.agency_of(manifest.source), manifest.type)


def _first_objection(
    directory: Directory,
    grant: GrantRecord,
    manifest: Manifest,
    service: ServiceRecord,
    *,
    now: datetime,
    used: UsedToday,
) -> tuple[int, Refusal] | None:
    """Return how far the grant came and why it stops there, or None when it allows the manifest."""
    if not grant.holds_at(directory.version) or not grant.in_force_on(day_of(now)):
        return 0, Refusal("grant_ended")
    rules = {
        "purpose": (grant.purposes, "purpose_not_granted"),
        "legalbasis": (grant.legalbases, "legalbasis_not_granted"),
        "procedure": (grant.procedures, "procedure_not_granted"),
        "authid": (grant.officers, "officer_not_granted"),
    }
    for place, attribute in enumerate(STATED, start=1):
        granted, code = rules[attribute]
        value = manifest.text(attribute)
        if value not in granted and (value or attribute in service.requires):
            return place, Refusal(code, pointer=f"/{attribute}")
    if "casefile" in service.requires and not manifest.text("casefile"):
        return 5, Refusal("manifest", "the service asks for a case file", pointer="/casefile")
    if grant.quota_per_day is not None and used(grant.id) >= grant.quota_per_day:
        return 6, Refusal("quota_exceeded", retry_after=left_of_day(now))
    return None
