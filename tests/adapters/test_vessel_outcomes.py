import json
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from adapters.ndxp import mapping as ndxp
from adapters.ndxp.mock.registry import registry
from adapters.ndxp.mock.service import Rules, answered
from adapters.one_stop import mapping as one_stop
from adapters.one_stop.records import applicants
from adapters.one_stop.records import known_numbers as known_to_communes
from adapters.police import mapping as police
from adapters.police.records import known_numbers as known_to_police
from adapters.vnfishbase import mapping as vnfishbase
from adapters.vnfishbase.records import VesselRow, vessels

SEED, COUNT = 3, 1_500
AS_OF = date(2026, 11, 22)
ASKER = ndxp.Asker(request_id="1", procedure="1.001612.000.00.00.H01", officer="cb-01", unit="H01.12")
RULES = Rules(procedures=frozenset({ASKER.procedure}), officers=frozenset({ASKER.officer}))
SCHEMAS: Registry[Any] = Registry().with_resources(
    [
        (document["$id"], Resource.from_contents(document))
        for document in map(
            json.loads,
            (path.read_text() for path in (Path(__file__).parents[2] / "schemas").glob("*/*/*.json")),
        )
    ]
)
Answer = Callable[[dict[str, str]], dict[str, Any]]


def checked(body: dict[str, Any], schema: str) -> dict[str, Any]:
    Draft202012Validator({"$ref": f"urn:lgsp:schema:{schema}:1.0.0"}, registry=SCHEMAS).validate(body)
    return body


def population(seed: int, count: int) -> Answer:
    held = registry(seed, count)

    def answer(body: dict[str, str]) -> dict[str, Any]:
        question = ndxp.question(checked(body, "population:citizen-verify-request"), ASKER)
        reply = ndxp.answer(answered(question, held, RULES))
        assert not isinstance(reply, ndxp.Fault)
        return checked(reply, "population:citizen-verify-reply")

    return answer


def found_numbers(rows: list[VesselRow]) -> dict[str, str | vnfishbase.Quarantined]:
    in_police, in_communes = known_to_police(SEED, COUNT), known_to_communes(SEED, COUNT)
    by_police, by_communes = {}, {}
    for body in vnfishbase.police_lists(rows, AS_OF):
        reply = police.owner_list_reply(checked(body, "fisheries:owner-list-request"), in_police)
        by_police |= vnfishbase.answers(checked(reply, "fisheries:owner-list-reply"))
    for _, body in vnfishbase.commune_lists(rows, AS_OF):
        reply = one_stop.owner_list_reply(checked(body, "fisheries:owner-list-request"), in_communes)
        by_communes |= vnfishbase.answers(checked(reply, "fisheries:owner-list-reply"))
    assert by_police.keys() == by_communes.keys()
    return {key: vnfishbase.agreed_number(by_police[key], by_communes[key]) for key in by_police}


def outcome(
    row: VesselRow, found: dict[str, str | vnfishbase.Quarantined], answer: Answer
) -> vnfishbase.Linked | vnfishbase.Quarantined:
    number = found.get(row.registration)
    if isinstance(number, vnfishbase.Quarantined):
        return number
    body = vnfishbase.verify_request(row, number)
    return body if isinstance(body, vnfishbase.Quarantined) else vnfishbase.verdict(answer(body))


def test_what_becomes_of_each_vessel_is_what_was_made_up(
    true_outcomes: Callable[[int, int], dict[str, str]],
) -> None:
    rows = vessels(SEED, COUNT)
    found, answer = found_numbers(rows), population(SEED, COUNT)
    outcomes = {row.registration: outcome(row, found, answer) for row in rows}
    seen = {
        key: result.reason if isinstance(result, vnfishbase.Quarantined) else "linked"
        for key, result in outcomes.items()
    }
    assert seen == true_outcomes(SEED, COUNT)
    assert Counter(seen.values())["linked"] > COUNT * 0.85
    assert len(set(seen.values())) >= 10


def test_applicants_are_mostly_who_they_say() -> None:
    answer = population(SEED, 1)
    results = Counter(answer(one_stop.verify_request(applicant))["result"] for applicant in applicants(SEED, 500))
    assert results["match"] > 450
    assert set(results) <= {"match", "mismatch", "deceased"}
