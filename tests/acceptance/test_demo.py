"""`lgsp demo` as a person runs it: what it shows, what it leaves, and that no person stands in anything that it writes."""

import contextlib
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import unicodedata
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import get_args

import psutil
import pytest

from adapters.made_up.counter import people
from adapters.made_up.fleet import fleet
from adapters.made_up.handwriting import without_accents
from adapters.one_stop.records import applicants
from adapters.vnfishbase.mapping import Reason
from adapters.vnfishbase.records import vessels
from lgsp.cli.demo.province import Province
from lgsp.cli.demo.screen import REASONS, WORDS
from lgsp.domain import base64url, envelope, jws, strictjson
from lgsp.logs import ALWAYS, EVENTS

pytestmark = pytest.mark.timeout(300)  # what several processes take on a machine that has other things to do

SEED, OTHER_SEED, COUNT, LOOKUPS = 20_261_122, 7, 400, 24
INDEPENDENT = Path(__file__).parents[2] / "docs" / "verify_evidence.py"
SCHEMAS = Path(__file__).parents[2] / "schemas"
"""Public, and published in the directory; the examples in them are names out of the same syllables."""
SIZES = ("--vessels", str(COUNT), "--lookups", str(LOOKUPS))
NEVER_ASKED = {"number_missing", "answers_differ", "number_malformed", "birth_date_missing"}
SAME = (
    "vessels",
    "linked",
    "counted",
    "communes",
    "quarantined",
    "by_reason",
    "verifications",
    "lists",
    "exchanges",
    "refused",
)
REFUSED = {
    "no grant": (403, "no_grant"),
    "a grant for another purpose": (403, "purpose_not_granted"),
    "a forged signature": (401, "signature"),
    "a used id with another body": (409, "id_conflict"),
    "a body that breaks its schema": (422, "schema"),
}


@dataclass(frozen=True, slots=True)
class Told:
    """A demo that was served for a while, then ended."""

    data: Path
    code: int
    out: str
    err: str
    metrics: str
    problems: list[str]

    @property
    def result(self):
        return json.loads(self.out)


@pytest.fixture(scope="module")
def told(tmp_path_factory, start):
    folder = tmp_path_factory.mktemp("told")
    data = folder / "data"
    run = start("demo", "--json", "--serve", "--data", str(data), "--seed", str(SEED), *SIZES, cwd=folder)
    line = run.hear("http://")
    url = next(word.rstrip(".") for word in line.split() if word.startswith("http://"))
    assert run.process.poll() is None
    problems = provoke(Province.at(data, url), url)
    metrics = ask(f"{url}/metrics")
    run.process.send_signal(signal.SIGINT)
    yield Told(data, *run.end(), metrics, problems)
    shutil.rmtree(folder)


def ask(url, body=None, **headers):
    """Return what the gateway answers, whatever its status."""
    request = urllib.request.Request(url, data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()


def provoke(province, url):
    """Return the answers to envelopes and calls that are wrong in a person's number and name, and so tempt to repeat them."""
    found = []
    for person, language in zip(people(SEED)[:6], ("vi", "en") * 3, strict=True):
        number, name = person.personal_number, person.full_name
        good = {"personalNumber": number, "fullName": name, "birthDate": "1985"}
        bodies = (
            good | {"birthDate": f"{name} 22/11/1985"},
            good | {name: number},
            good | {"personalNumber": f"{number}0"},
            good | {"oldNumber": number},
            {"fullName": [name, number]},
        )
        wires = [province.one_stop.envelope(body) for body in bodies]
        wires += [
            stating(province.one_stop, good, attribute, value)
            for attribute, value in (
                ("casefile", number),
                ("id", number),
                ("procedure", number),
                ("authid", without_accents(name).replace(" ", "-").lower()),
                ("subject", number),
            )
        ]
        for wire in wires:
            headers = {"lgsp-env": wire.compact.decode(), "Content-Type": "application/json"}
            found.append(ask(f"{url}/v1/envelopes", wire.body, **headers, **{"Accept-Language": language}))
        found.append(ask(f"{url}/v1/envelopes", name.encode(), **{"lgsp-env": number, "Accept-Language": language}))
        found += [ask(f"{url}{path}") for path in (f"/v1/envelopes/{number}", f"/v1/inbox?name={number}", f"/{number}")]
    return found


def stating(sender, body, attribute, value):
    """Return a signed envelope with an attribute that the sender's own rules would not let pass."""
    wire = sender.envelope(body)
    payload = strictjson.parse_object(base64url.decode(wire.compact.split(b".")[1])) | {attribute: value}
    return replace(wire, compact=jws.sign(strictjson.compact(payload), typ=envelope.TYP, signer=sender.key))


# --- what it shows ----------------------------------------------------------------------------------------------------------------------


def test_the_result_is_one_json_object_and_its_figures_agree(told):
    assert told.code == 0, told.err
    result = told.result
    assert result["vessels"] == COUNT == result["linked"] + result["quarantined"]
    assert result["quarantined"] == sum(result["by_reason"].values())
    questions = result["verifications"] + result["lists"] + LOOKUPS + 1
    assert result["exchanges"] == 2 * questions + result["linked"]
    assert result["log_size"] > result["exchanges"]
    assert (result["verified"], result["witnessed"]) == (True, result["log_size"])
    assert 0 < result["sync_seconds"] < result["seconds"]
    assert 0 < result["gateway_peak_mb"] < 150
    assert result["lookup_ms"]["idle"]["count"] == LOOKUPS // 4


def test_every_refusal_is_shown_with_its_code_and_hint(told):
    shown = {each["tried"]: (each["status"], each["code"]) for each in told.result["refusals"]}
    assert shown == REFUSED
    assert all(each["code"] == each["expected"] and each["hint"] for each in told.result["refusals"])


def test_every_refused_envelope_and_caller_is_counted(told):
    answered = Counter(json.loads(answer)["code"] for answer in told.problems)
    assert answered.keys() == {
        "schema",
        "manifest",
        "procedure_not_granted",
        "compact",
        "auth_missing",
        "bad_request",
        "not_found",
    }
    calls = answered["bad_request"] + answered["not_found"]  # that asked for nothing that there is
    assert told.result["refused"] == len(REFUSED) + answered.total() - calls


def test_the_outcome_of_each_vessel_is_the_one_that_was_made_up(told, true_outcomes):
    truth = true_outcomes(SEED, COUNT)
    assert outcomes(told.data) == truth
    assert counts(told.result) == figures(truth)


def test_the_operations_centre_counts_what_the_fisheries_linked(told):
    result, linked = told.result, outcomes(told.data)
    assert (result["counted"], result["differing"]) == (result["linked"], [])
    rows = {row.registration: row for row in vessels(SEED, COUNT)}
    expected = Counter(rows[registration].commune_code for registration, step in linked.items() if step == "linked")
    assert result["communes"] == len(expected)
    assert figures_of(told.data) == expected


def figures_of(data):
    """Return the vessels that the centre's own tables count in each commune."""
    with contextlib.closing(sqlite3.connect(data / "systems" / "H01.02-ioc" / "box.sqlite")) as box:
        return dict(box.execute("SELECT commune, sum(vessels) FROM figure GROUP BY commune"))


def outcomes(data):
    box = sqlite3.connect(data / "systems" / "H01.12-vnfishbase" / "box.sqlite")
    try:
        return dict(box.execute("SELECT registration, coalesce(reason, step) FROM vessel"))
    finally:
        box.close()


def counts(result):
    return {name: result[name] for name in ("vessels", "linked", "quarantined", "by_reason", "verifications")}


def figures(truth):
    """Return what the demo has to report of these outcomes."""
    reasons = Counter(outcome for outcome in truth.values() if outcome != "linked")
    return {
        "vessels": len(truth),
        "linked": len(truth) - reasons.total(),
        "quarantined": reasons.total(),
        "by_reason": dict(reasons),
        "verifications": sum(outcome not in NEVER_ASKED for outcome in truth.values()),
    }


def test_the_address_is_told_and_the_programs_stay_until_interrupted(told):
    assert "The gateway's address: http://127.0.0.1:" in told.err
    assert "interrupted" not in told.err
    assert told.metrics.startswith("# HELP")


def test_the_kept_files_verify_and_another_demo_leaves_them_alone(told, run_apart, tmp_path):
    code, out, err = run_apart("audit", "verify", "--data", str(told.data), cwd=tmp_path)
    assert (code, err) == (0, "")
    assert f"{told.result['log_size']} entries" in out
    independent = [sys.executable, str(INDEPENDENT), str(told.data / "evidence.json"), str(told.data / "trust.json")]
    assert json.loads((told.data / "trust.json").read_bytes())["witnesses"] != []
    assert subprocess.run(independent, capture_output=True, timeout=30, check=False).returncode == 0
    code, _, err = run_apart("demo", "--data", str(told.data), "--vessels", "1", cwd=tmp_path)
    assert code == 2
    assert "[file_exists]" in err
    assert outcomes(told.data).keys() == {row.registration for row in vessels(SEED, COUNT)}


@pytest.mark.long
def test_the_same_seed_gives_the_same_counts_and_without_data_nothing_is_left(told, run_apart, tmp_path, running_in):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    code, out, err = run_apart("demo", "--json", "--seed", str(SEED), *SIZES, cwd=scratch, TMPDIR=str(scratch))
    assert code == 0, err
    again = json.loads(out)
    assert again["refused"] == len(REFUSED)
    own = {name: told.result[name] for name in SAME if name != "refused"}
    assert {name: again[name] for name in SAME if name != "refused"} == own
    assert list(scratch.iterdir()) == []
    assert running_in(scratch) == []


@pytest.fixture
def open_scratch():
    """A folder that any account can get into, as the machine's own for temporary files: root's PostgreSQL runs as somebody else."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize(
    ("engines", "told", "kept"),
    [
        pytest.param("postgresql", ["database", "broker", "backup"], ["kept"], id="postgresql, kept"),
        pytest.param("postgresql", ["database", "broker"], [], id="postgresql", marks=pytest.mark.long),
        pytest.param("rabbitmq", ["broker"], [], id="rabbitmq", marks=pytest.mark.long),
    ],
)
def test_on_engines_the_story_is_the_same_and_they_are_gone_afterwards(
    engines, told, kept, run_apart, open_scratch, running_in, true_outcomes
):
    scratch = open_scratch
    options = ["--vessels", "60", "--lookups", "8"]
    for name in kept:
        options += ["--data", str(scratch / name)]
    code, out, err = run_apart(
        "demo", "--json", "--engines", engines, "--seed", str(SEED), *options, cwd=scratch, TMPDIR=str(scratch)
    )
    assert code == 0, err
    assert [name for name in ("database", "broker", "backup") if WORDS[name][0] in err] == told
    result = json.loads(out)
    assert counts(result) == figures(true_outcomes(SEED, 60))
    assert (result["counted"], result["verified"]) == (result["linked"], True)
    assert [path.name for path in scratch.iterdir()] == kept
    assert running_in(scratch) == []
    assert not [process for process in psutil.process_iter() if home_of(process).startswith(str(scratch))]
    for name in kept:  # the ledger of a database that is gone
        backup, trust = (str(scratch / name / each) for each in ("backup", "trust.json"))
        code, told_of, err = run_apart("backup", "verify", backup, "--trust", trust, cwd=scratch)
        assert code == 0, err
        assert f"{result['log_size']} entries" in told_of


def home_of(process):
    """Return where a process is at home: the broker's names nothing of the demo's folder on its command line."""
    try:
        return process.environ().get("HOME", "")
    except psutil.Error:
        return ""


@pytest.mark.long
def test_another_seed_gives_other_counts_and_the_tables_speak_vietnamese(run_apart, tmp_path, true_outcomes):
    code, out, err = run_apart(
        "demo", "--seed", str(OTHER_SEED), *SIZES, cwd=tmp_path, TMPDIR=str(tmp_path), LGSP_LANG="vi"
    )
    assert code == 0, err
    shown, other = figures(true_outcomes(OTHER_SEED, COUNT)), figures(true_outcomes(SEED, COUNT))
    assert shown != other
    for name, value in (("vessels", COUNT), ("linked", shown["linked"]), ("quarantined", shown["quarantined"])):
        assert row_of(out, WORDS[name][1])[-1] == str(value)
    assert {reason: row_of(out, REASONS[reason][1]) for reason in shown["by_reason"]} == {
        reason: [str(number)] for reason, number in shown["by_reason"].items()
    }
    silent = {
        "province",
        "programs",
        "idle",
        "sync",
        "refusals",
        "verify",
        "stay",
        "lists",
        "verify_step",
        "no",
        "unequal",
        "broker",
        "database",
        "backup",
    }
    assert [words[1] for name, words in WORDS.items() if name not in silent and words[1] not in out] == []
    assert "không có quyền" in out
    assert [
        WORDS[act][1] for act in ("province", "programs", "idle", "sync", "verify") if WORDS[act][1] not in err
    ] == []


def row_of(table, title):
    """Return what stands after the title in its row."""
    rows = (line.strip("│ ") for line in table.splitlines())
    return next(row.removeprefix(title).strip("│ ").split() for row in rows if row.startswith(f"{title} "))


def test_every_reason_of_the_fisheries_has_words():
    assert REASONS.keys() == set(get_args(Reason))


@pytest.mark.parametrize(("english", "vietnamese"), [*WORDS.values(), *REASONS.values()])
def test_every_word_of_the_screen_exists_in_two_languages(english, vietnamese):
    assert english != vietnamese
    assert unicodedata.is_normalized("NFC", vietnamese)


@pytest.mark.parametrize(
    ("act", "started", "first", "second"),
    [("sync", 6, signal.SIGINT, signal.SIGTERM), ("programs", 0, signal.SIGTERM, signal.SIGINT)],
)
def test_an_interrupted_demo_leaves_no_process_and_no_file(start, tmp_path, running_in, act, started, first, second):
    run = start("demo", "--serve", "--vessels", "2000", cwd=tmp_path, TMPDIR=str(tmp_path))
    run.hear(WORDS[act][0])
    children = psutil.Process(run.process.pid).children(recursive=True)
    assert len(children) >= started
    run.process.send_signal(first)
    run.process.send_signal(second)
    code, out, err = run.end()
    assert (code, out) == (130, "")
    assert "interrupted: every program is stopped" in err
    assert "Traceback" not in err
    assert [child for child in children if child.is_running()] == []
    assert running_in(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


# --- what it does not show ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def person_search(search_for):
    """Return the search for every number and name that the demo made up, and for every vessel and case file."""
    ships, counter = fleet(SEED, COUNT), people(SEED)
    citizens = (*ships.citizens, *counter)
    typed = [*vessels(SEED, COUNT), *applicants(SEED, 6 * LOOKUPS + 60)]
    numbers = {number for citizen in citizens for number in (citizen.personal_number, citizen.old_number)}
    numbers |= {vessel.kept_number for vessel in ships.vessels} | {vessel.police_number for vessel in ships.vessels}
    numbers |= {vessel.commune_number for vessel in ships.vessels}
    names = {citizen.full_name for citizen in citizens} | {vessel.kept_name for vessel in ships.vessels}
    names |= {vessel.registration for vessel in ships.vessels} | {vessel.name for vessel in ships.vessels}
    for row in typed:
        applicant = hasattr(row, "dossier")
        names |= {row.full_name, row.dossier} if applicant else {row.owner_name}
        numbers |= {row.number} if applicant else {row.owner_number, row.old_number}
    return search_for(filter(None, numbers), names)


def test_the_search_finds_whatever_way_a_person_is_written(person_search):
    person = people(SEED)[0]
    number, name = person.personal_number, person.full_name
    for planted in (
        f'{{"event":"x","number":"{number}"}}',
        f"...{number[:3]} {number[3:6]} {number[6:]}...",
        f"id={number}0",
        f"<{name.lower()}>",
        without_accents(name).title(),
        unicodedata.normalize("NFD", name),
        json.dumps({"name": name}),
        name.replace(" ", "  ").replace("  ", "_", 1),
    ):
        assert len(person_search.find(f"{'a b c 12 ' * 50}{planted}{' x y z' * 50}")) >= 1, planted
    assert person_search.find(f"{SEED} 2026-11-22T03:40:48.473991Z 099185999998 VÕ THỊ MINH HOẠ") == set()


def test_nobody_stands_in_what_was_printed_logged_measured_or_answered(told, person_search):
    assert len(person_search.numbers) > 2 * COUNT
    assert len(person_search.names) > 2 * COUNT
    written = {path.name: path.read_text() for path in (told.data / "logs").iterdir()}
    assert len(written) == 7
    written |= {"stdout": told.out, "stderr": told.err, "metrics": told.metrics}
    written |= {f"problem {index}": problem for index, problem in enumerate(told.problems)}
    assert {name: found for name, text in written.items() if (found := person_search.find(text))} == {}


def test_nobody_can_be_read_in_the_files_of_the_bus(told, person_search):
    """Bodies are sealed there, so that neither a backup nor a lost disk tells of anybody. Boxes are the departments' own.

    Case files are in every manifest, and the catalogue finds entries by them: they are no secret of the bus, and no person's number.
    """
    files = [path for path in told.data.rglob("*") if path.is_file() and "systems" not in path.parts]
    assert {"bus.sqlite", "evidence.json", "trust.json"} <= {path.name for path in files}
    examples = {name for path in SCHEMAS.glob("*/*/*.json") for name in person_search.find(path.read_text())}
    case_files = person_search.find("\n".join(row.dossier for row in applicants(SEED, 6 * LOOKUPS + 60)))
    known = examples | case_files
    found = {path.name: person_search.find(path.read_bytes().decode("utf-8", "ignore")) - known for path in files}
    assert {name: people for name, people in found.items() if people} == {}
    box = told.data / "systems" / "H01.12-vnfishbase" / "box.sqlite"
    assert (
        len(person_search.find(box.read_bytes().decode("utf-8", "ignore"))) > COUNT
    )  # the search would have found them


def test_every_event_that_was_logged_is_in_the_table_with_its_fields_alone(told):
    events, words = Counter(), []
    for path in (told.data / "logs").iterdir():
        for line in path.read_text().splitlines():
            if not line.startswith("{"):
                words.append(line)
                continue
            event = json.loads(line)
            events[event["event"]] += 1
            assert event.keys() - {"exc_info", "exception"} <= EVENTS[event["event"]] | ALWAYS, line
            datetime.fromisoformat(event["timestamp"])
    assert {"gateway.started", "stream.opened", "adapter.report", "adapter.lookup", "envelope.refused"} <= events.keys()
    assert "log.unknown" not in events
    assert events["adapter.lookup"] == LOOKUPS
    assert [line for line in words if not line.startswith("urn:lgsp:bus:91:gw:a listens on ")] == ["stopping"]
