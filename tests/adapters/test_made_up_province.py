import os
import re
import subprocess
import sys
import time
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from adapters.made_up.citizens import Citizen
from adapters.made_up.communes import communes
from adapters.made_up.counter import people
from adapters.made_up.fleet import ANSWERS, FAULTS, SHARE_WITHOUT_NUMBER, Fleet, fleet
from adapters.made_up.handwriting import without_accents
from adapters.made_up.names import GIVEN
from adapters.ndxp.mock.registry import registry
from adapters.one_stop import records as one_stop
from adapters.police import records as police
from adapters.vnfishbase.records import VesselRow, vessels

ROOT = Path(__file__).parents[2]
SEED, COUNT = 20261122, 10_026
FINGERPRINT = """
import hashlib
from adapters.ndxp.mock.registry import registry
from adapters.one_stop.records import applicants, known_numbers
from adapters.vnfishbase.records import vessels
views = vessels(5, 400), known_numbers(5, 400), applicants(5, 50), registry(5, 400)
print(hashlib.sha256(repr(views).encode()).hexdigest())
"""


@pytest.fixture(scope="module")
def province() -> Fleet:
    return fleet(SEED, COUNT)


@pytest.fixture(scope="module")
def rows() -> list[VesselRow]:
    return vessels(SEED, COUNT)


def everybody(province: Fleet) -> list[Citizen]:
    return [*province.citizens, *people(SEED)]


def test_the_communes_are_those_of_today() -> None:
    found = communes()
    assert Counter(commune.kind for commune in found) == {"xã": 85, "phường": 14, "đặc khu": 3}
    names = {commune.code: commune.name for commune in found}
    assert names["30742"] == "Phường Rạch Giá"
    assert names["30307"] == "Phường Long Xuyên"
    assert names["31078"] == "Đặc khu Phú Quốc"
    assert all(re.fullmatch("[0-9]{5}", code) for code in names)


def test_every_number_lies_in_the_reserved_range(province: Fleet, rows: list[VesselRow]) -> None:
    for citizen in everybody(province):
        assert re.fullmatch("099[0-3][0-9]{8}", citizen.personal_number)
        assert citizen.old_number is None or re.fullmatch("99[0-9]{7}", citizen.old_number)
    typed = [row.owner_number or row.old_number for row in rows]
    typed += [applicant.number for applicant in one_stop.applicants(SEED, 500)]
    typed += police.known_numbers(SEED, COUNT).values()
    for number in filter(None, typed):
        # Eleven digits are a twelve-digit number whose first zero a spreadsheet lost.
        assert re.fullmatch("0?99[0-9]{9}|99[0-9]{7}", number.replace(" ", ""))


def test_no_number_outside_the_reserved_range_is_written_down() -> None:
    files = [path for folder in ("adapters", "schemas", "tests/adapters") for path in ROOT.glob(f"{folder}/**/*.*")]
    assert len(files) > 50
    for path in files:
        if path.suffix in {".py", ".json", ".toml"}:
            for number in re.findall("(?<![0-9])(?:[0-9]{12}|[0-9]{9})(?![0-9])", path.read_text()):
                assert number.startswith("099" if len(number) == 12 else "99"), path


def test_no_two_citizens_share_a_personal_number(province: Fleet) -> None:
    numbers = [citizen.personal_number for citizen in everybody(province)]
    assert len(numbers) == len(set(numbers))


def test_an_old_number_is_shared_only_on_purpose(province: Fleet) -> None:
    holders = Counter(citizen.old_number for citizen in everybody(province) if citizen.old_number)
    shared = {number for number, holding in holders.items() if holding > 1}
    ambiguous = [vessel for vessel in province.vessels if vessel.fault == "number_ambiguous"]
    assert shared == {vessel.kept_number for vessel in ambiguous}
    assert {holders[number] for number in shared} == {2}


def test_a_number_tells_sex_and_birth_year(province: Fleet) -> None:
    for citizen in province.citizens:
        century = citizen.birth_date.year // 100 - 19
        assert int(citizen.personal_number[3]) == century * 2 + (citizen.sex == "female")
        assert citizen.personal_number[4:6] == f"{citizen.birth_date.year % 100:02d}"
        assert citizen.recorded_birth in {str(citizen.birth_date.year), citizen.birth_date.isoformat()}


def test_names_are_written_as_a_register_writes_them(province: Fleet) -> None:
    for citizen in everybody(province):
        assert citizen.full_name == unicodedata.normalize("NFC", citizen.full_name).upper()
        assert len(citizen.full_name.split()) in {3, 4}
        assert len(citizen.full_name) >= 9


def test_another_given_name_is_another_name_without_accents_too() -> None:
    for given in GIVEN.values():
        assert len({without_accents(name) for name in given}) == len(given)


def test_registrations_are_unique_and_follow_the_former_province(province: Fleet) -> None:
    registrations = [vessel.registration for vessel in province.vessels]
    assert len(set(registrations)) == COUNT
    for vessel in province.vessels:
        assert re.fullmatch("(AG|KG)-[0-9]{5}-TS", vessel.registration)
        assert vessel.registration.startswith(vessel.owner.commune.prefix)
    prefixes = Counter(registration[:2] for registration in registrations)
    assert min(prefixes.values()) > COUNT * 0.1


def test_the_fleet_is_as_dirty_as_stated(province: Fleet) -> None:
    without = [vessel for vessel in province.vessels if vessel.kept_number is None]
    share = len(without) / COUNT
    assert share == pytest.approx(SHARE_WITHOUT_NUMBER, abs=0.02)
    faults = Counter(vessel.fault for vessel in province.vessels)
    for fault, expected in FAULTS:
        assert faults[fault] / (COUNT - len(without)) == pytest.approx(expected, abs=0.006)
        assert faults[fault]
    answers = Counter(vessel.answers for vessel in without)
    for answer, expected in ANSWERS:
        assert answers[answer] / len(without) == pytest.approx(expected, abs=0.015)


def test_owners_may_have_several_vessels_and_some_are_dead(province: Fleet) -> None:
    owned = Counter(vessel.owner.personal_number for vessel in province.vessels)
    assert 0.15 < 1 - len(owned) / COUNT < 0.25
    assert max(owned.values()) > 1
    assert 0.01 < sum(vessel.owner.deceased for vessel in province.vessels) / COUNT < 0.02


def test_every_commune_is_home_to_vessels(province: Fleet) -> None:
    assert len({vessel.owner.commune.code for vessel in province.vessels}) == 102


def test_a_fault_makes_the_file_differ_from_the_register(province: Fleet) -> None:
    holders = {citizen.personal_number: citizen for citizen in everybody(province)}
    known = holders.keys() | {citizen.old_number for citizen in holders.values()}
    for vessel in province.vessels:
        number, owner = vessel.kept_number, vessel.owner
        assert (vessel.kept_name == owner.full_name) is (vessel.fault != "name_differs")
        assert (number is None or number in known) is (vessel.fault not in {"number_unknown", "number_malformed"})
        if vessel.fault == "birth_date_differs":
            assert vessel.kept_birth[:4] != owner.recorded_birth[:4]
        if vessel.fault == "person_differs":
            assert holders[number].full_name != owner.full_name
            assert holders[number].birth_date.year != owner.birth_date.year
        if vessel.fault == "none" and number is not None:
            assert number in {owner.personal_number, owner.old_number}


def test_two_answers_relate_as_stated(province: Fleet) -> None:
    for vessel in province.vessels:
        told = {vessel.police_number, vessel.commune_number}
        right = vessel.owner.personal_number
        expected = {
            "not_asked": told == {None},
            "same": told == {right},
            "both_lack": told == {None},
            "police_only": (vessel.police_number, vessel.commune_number) == (right, None),
            "commune_only": (vessel.police_number, vessel.commune_number) == (None, right),
            "differ": right in told and len(told) == 2 and None not in told,
        }
        assert expected[vessel.answers]


def test_every_system_sees_its_own_side_of_one_province(province: Fleet, rows: list[VesselRow]) -> None:
    assert [row.registration for row in rows] == [vessel.registration for vessel in province.vessels]
    by_police, by_communes = police.known_numbers(SEED, COUNT), one_stop.known_numbers(SEED, COUNT)
    for vessel in province.vessels:
        assert by_police.get(vessel.registration) == vessel.police_number
        assert by_communes.get(vessel.registration) == vessel.commune_number
    held = registry(SEED, COUNT)
    assert {citizen.personal_number for citizen in everybody(province)} <= held.keys()


def test_clerks_typed_names_and_dates_in_many_ways(rows: list[VesselRow]) -> None:
    ways = {
        "decomposed": lambda row: row.owner_name != unicodedata.normalize("NFC", row.owner_name),
        "no accents": lambda row: row.owner_name.isascii(),
        "lower case": lambda row: row.owner_name.islower(),
        "spaces": lambda row: row.owner_name != " ".join(row.owner_name.split()),
        "year only": lambda row: re.fullmatch("[0-9]{4}", row.birth_date or ""),
        "month only": lambda row: re.fullmatch("[0-9]{2}/[0-9]{4}", row.birth_date or ""),
        "no birth date": lambda row: row.birth_date is None,
        "old number in the wrong column": lambda row: row.owner_number and len(row.owner_number.replace(" ", "")) == 9,
    }
    for way, is_so in ways.items():
        assert any(map(is_so, rows)), way


def test_the_same_seed_gives_the_same_data_in_every_process() -> None:
    prints = {
        subprocess.run(
            [sys.executable, "-c", FINGERPRINT],
            capture_output=True,
            check=True,
            timeout=60,
            env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        ).stdout
        for hash_seed in (1, 2)
    }
    assert len(prints) == 1


def test_another_seed_gives_other_people() -> None:
    assert fleet(1, 50).citizens != fleet(2, 50).citizens


def test_a_small_fleet_is_the_beginning_of_a_large_one(province: Fleet) -> None:
    assert fleet(SEED, 300).vessels == province.vessels[:300]


@pytest.mark.parametrize("count", [0, -1, 50_001])
def test_a_fleet_has_bounds(count: int) -> None:
    with pytest.raises(ValueError, match="50000"):
        fleet(1, count)


def test_a_whole_view_is_made_in_little_time() -> None:
    started = time.process_time()
    vessels(SEED, COUNT)
    assert time.process_time() - started < 1.5


def test_dossier_codes_are_unique_and_well_formed() -> None:
    codes = [applicant.dossier for applicant in one_stop.applicants(SEED, 500)]
    assert len(set(codes)) == 500
    assert codes[0] == "H01.31-20261122-0000001"
    with pytest.raises(ValueError, match="9999999"):
        one_stop.applicants(SEED, 10_000_000)
