import json
import re
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from adapters.ioc import mapping as ioc
from adapters.made_up.fleet import Hull
from adapters.ndxp import mapping as ndxp
from adapters.one_stop import mapping as one_stop
from adapters.police import mapping as police
from adapters.vnfishbase import mapping as vnfishbase
from adapters.vnfishbase.records import vessels

ROOT = Path(__file__).parents[2]
ADAPTERS = ("vnfishbase", "police", "one_stop", "ndxp", "ioc")
SENDS_NOTHING = {"ioc"}
SAMPLES = {
    f"{path.parts[-4]}/{path.parts[-2]}/{path.name}": path
    for path in sorted((ROOT / "adapters").glob("*/samples/*/*.json"))
}
DOCUMENTS = [json.loads(path.read_text(encoding="utf-8")) for path in (ROOT / "schemas").glob("*/*/*.json")]
REGISTRY: Registry[Any] = Registry().with_resources(
    [(document["$id"], Resource.from_contents(document)) for document in DOCUMENTS]
)
# Personal numbers are made up in place 099, old ones begin with 99.
NUMBER = re.compile(r"(?<![0-9-])[0-9]{9,12}(?![0-9-])")
MADE_UP = re.compile(r"099[0-9]{9}|99[0-9]{7}|99[0-9]{9}")
ASKER = ndxp.Asker(request_id="1", procedure="1.001612", officer="5c20d4", unit="H01.31")


def body_of(name: str) -> Any:
    return json.loads(SAMPLES[name].read_text(encoding="utf-8"))


def follows_its_schema(name: str) -> bool:
    """Tell whether a sample follows the schema that its file is named after."""
    domain = "population" if "/citizen-" in name else "fisheries"
    record = name.rpartition("/")[2].partition(".")[0]
    validator = Draft202012Validator({"$ref": f"urn:lgsp:schema:{domain}:{record}:1.0.0"}, registry=REGISTRY)
    return validator.is_valid(body_of(name))


def samples(*folders: str) -> list[str]:
    return [name for name in SAMPLES if name.split("/")[1] in folders]


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("folder", ["in", "out", "invalid"])
def test_an_adapter_shows_what_it_takes_sends_and_refuses(adapter: str, folder: str) -> None:
    shown = [name for name in samples(folder) if name.startswith(f"{adapter}/")]
    assert bool(shown) is not (folder == "out" and adapter in SENDS_NOTHING)


@pytest.mark.parametrize("name", samples("in", "out"))
def test_a_sample_follows_its_schema(name: str) -> None:
    assert follows_its_schema(name)


@pytest.mark.parametrize("name", samples("invalid"))
def test_an_invalid_sample_is_refused_by_its_schema(name: str) -> None:
    assert not follows_its_schema(name)


@pytest.mark.parametrize("name", SAMPLES)
def test_numbers_in_samples_belong_to_nobody(name: str) -> None:
    found = NUMBER.findall(SAMPLES[name].read_text(encoding="utf-8"))
    assert [number for number in found if not MADE_UP.fullmatch(number)] == []


@pytest.mark.parametrize("name", [name for name in samples("in") if name.startswith("ndxp/")])
def test_the_bridge_takes_its_samples(name: str) -> None:
    assert ndxp.question(body_of(name), ASKER).startswith(b"<?xml")


@pytest.mark.parametrize("name", [name for name in samples("in") if "/citizen-verify-reply" in name])
def test_an_answer_of_the_population_service_has_a_verdict(name: str) -> None:
    linked = vnfishbase.verdict(body_of(name)) == vnfishbase.Linked()
    assert linked == name.endswith(".match.json")


@pytest.mark.parametrize("name", [name for name in samples("in") if name.startswith("ioc/")])
def test_the_operations_centre_takes_its_samples(name: str) -> None:
    assert ioc.linked_vessel(body_of(name)).registration == body_of(name)["registration"]


def test_the_fisheries_tell_of_a_vessel_as_the_sample_shows() -> None:
    shown = body_of("vnfishbase/out/vessel-linked.from-15-m.json")
    hull = Hull(length_m=16.2, engine_kw=200, material="gỗ", built=2001)
    row = replace(vessels(1, 1)[0], registration="KG-91234-TS", commune_code="30742", hull=hull)
    assert vnfishbase.linked_event(row, date(2026, 11, 22)) == shown


def test_the_police_answer_their_sample_as_the_other_sample_shows() -> None:
    asked = body_of("police/in/owner-list-request.two-vessels.json")
    answered = body_of("police/out/owner-list-reply.partly-found.json")
    assert police.owner_list_reply(asked, {"AG-00012-TS": "099185000017"}) == answered
    assert vnfishbase.answers(answered) == {"AG-00012-TS": "099185000017", "KG-91234-TS": None}


def test_the_commune_answers_its_sample_as_the_other_sample_shows() -> None:
    asked = body_of("one_stop/in/owner-list-request.one-commune.json")
    answered = body_of("one_stop/out/owner-list-reply.found.json")
    assert one_stop.owner_list_reply(asked, {"KG-91234-TS": "099058000123"}) == answered
