"""From a citizen's question to the answer, and a breach, by command: over the network as officers, beside a running gateway and without one."""

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

NUMBERS = ("099185000017", "099185000024", "099185000031")
ASKER, TYPE = "H01.99/asker", "vn.lgsp.examples.record.ask.v1"
SUBJECTS = 'reply_schemas = ["urn:lgsp:schema:examples:record:1.0.0"]\n'
SPAN = ("--from", "2020-01-01", "--to", "2120-01-01")


@pytest.fixture
def people(province, lgsp):
    """A province whose requests name persons, with two auditors and an operator; the officers' options of a command by their names."""
    file = province.parent / "directory.toml"
    declared = SUBJECTS + 'subjects = [{ pointer = "/personalNumber", scheme = "CCCD" }]\n'
    file.write_text(file.read_text().replace(SUBJECTS, declared, 1))
    assert lgsp("directory", "apply", file, "--data", province).code == 0
    return {
        name: officer(lgsp, province, name, role)
        for name, role in (("a0d170", "auditor"), ("b1e281", "auditor"), ("c2f392", "operator"))
    }


def officer(lgsp, province, name, role):
    key, jwk = province.parent / f"{name}.pem", province.parent / f"{name}.jwk"
    urn = f"urn:lgsp:agency:H01.99:officer:{name}"
    lgsp("keys", "new", key, "--role", "officer")
    proven = lgsp("keys", "prove", key, "--owner", urn, "--trust", province / "trust.json", "--jwk")
    jwk.write_text(proven.out)
    added = lgsp("officer", "add", urn, jwk, "--data", province, "--role", role)
    assert added.code == 0, added.err
    return ["--as", urn, "--key", key, "--trust", province / "trust.json"]


def send(lgsp, province, number):
    body = province.parent / "body.json"
    body.write_text(json.dumps({"personalNumber": number}))
    sent = lgsp(
        "send", TYPE, "H01.99/answerer", body, "--purpose", "example", "--casefile", "AG-1-TS",
        "--system", province / "systems/H01.99-asker/system.toml",
    )  # fmt: skip
    assert sent.code == 0, sent.err
    return json.loads(sent.out)["env"]


@pytest.fixture
def number(tmp_path):
    """The file that a citizen's number is read from."""
    path = tmp_path / "number.txt"
    path.write_text(NUMBERS[0] + "\n")
    return path


def uses(lgsp, number, *where):
    ended = lgsp("subject", "usages", number, "--json", *where)
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


def no_number_in(text):
    assert not [number for number in NUMBERS if number in text]


def test_a_citizens_question_is_answered_with_proofs_and_the_person_erased(
    people, serve_for_a_moment, province, lgsp, number, tmp_path
):
    with serve_for_a_moment() as url:
        env = send(lgsp, province, NUMBERS[0])
        send(lgsp, province, NUMBERS[1])
        auditor = ["--url", url, *people["a0d170"]]
        shown = lgsp("subject", "usages", number, *auditor)
        assert shown.code == 0, shown.err
        assert "H01.99/asker" in shown.out
        assert "1 uses from" in shown.err
        assert "withholds" in shown.err
        no_number_in(shown.out + shown.err)
        [use] = uses(lgsp, number, *auditor)["findUsage"]
        assert (use["env"], use["action"], use["casefile"]) == (env, TYPE, "AG-1-TS")
        assert uses(lgsp, number, "--data", province)["findUsage"] == [use]
        for verb in ("operator", "nobody"):
            who = people["c2f392"] if verb == "operator" else ["--as", "H01.99/ffff", "--key", people["a0d170"][3]]
            refused = lgsp("subject", "usages", number, "--url", url, *who, "--trust", province / "trust.json")
            assert refused.code == 1
            no_number_in(refused.err)
        erased = lgsp("subject", "erase", number, "--reason", "asked for by the person", *auditor)
        assert erased.code == 0, erased.err
        assert uses(lgsp, number, *auditor)["findUsage"] == []
    proof = tmp_path / "use.proof"
    assert lgsp("audit", "prove", use["index"], "--data", province, "-o", proof).code == 0
    checked = lgsp("audit", "check", proof, "--trust", province / "trust.json")
    assert checked.code == 0
    assert use["commitment"] in checked.out
    assert lgsp("audit", "verify", "--data", province).code == 0
    no_number_in((province.parent / "serve.txt").read_text() + checked.out)
    pseudonyms = (province / "bus.sqlite").read_bytes()
    no_number_in(pseudonyms.decode("latin-1"))


def test_uses_are_withheld_until_a_date_or_until_an_officer_discloses_them(
    people, serve_for_a_moment, province, lgsp, number
):
    with serve_for_a_moment() as url:
        send(lgsp, province, NUMBERS[0])
        auditor = ["--url", url, *people["a0d170"]]
        made = lgsp(
            "subject", "withhold", "--system", ASKER, "--casefile", "AG-1-TS", "--until", "2100-01-01",
            "--basis", "Criminal Procedure Code, made-up", "--reason", "a case is open", *auditor,
        )  # fmt: skip
        assert made.code == 0, made.err
        rule = made.out.strip()
        assert uses(lgsp, number, *auditor)["findUsage"] == []
        assert len(uses(lgsp, number, "--withheld", *auditor)["findUsage"]) == 1
        listed = lgsp("subject", "withheld", *auditor)
        assert (rule in listed.out, "holds" in listed.out) == (True, True)
        assert lgsp("subject", "disclose", rule, "--reason", "the case is closed", *auditor).code == 0
        assert len(uses(lgsp, number, *auditor)["findUsage"]) == 1
        assert "over" in lgsp("subject", "withheld", *auditor).out


def test_keys_are_turned_without_a_gateway_and_beside_one(people, serve_for_a_moment, province, lgsp, number):
    key = province / "keys/subject.key"
    with serve_for_a_moment() as url:
        send(lgsp, province, NUMBERS[0])
        turned = lgsp("subject", "rotate-key", "--reason", "once a year", "--url", url, *people["c2f392"])
        assert turned.code == 0, turned.err
        assert len(turned.out.split()) == 2
        send(lgsp, province, NUMBERS[0])
    assert (key.stat().st_size, stat.S_IMODE(key.stat().st_mode)) == (64, 0o600)
    assert len(uses(lgsp, number, "--data", province)["findUsage"]) == 2
    assert lgsp("doctor", "--data", province).code == 0
    assert lgsp("subject", "retire-key", "--reason", "ten years have passed", "--data", province).code == 0
    assert len(uses(lgsp, number, "--data", province)["findUsage"]) == 1
    assert lgsp("audit", "verify", "--data", province).code == 0
    refused = lgsp("subject", "retire-key", "--reason", "once more", "--data", province)
    assert "[last_key]" in refused.err


def test_a_file_that_is_full_of_keys_takes_no_more_and_stays_as_it_is(province, lgsp):
    key = province / "keys/subject.key"
    key.write_bytes(key.read_bytes() + os.urandom(7 * 32))
    full = key.read_bytes()
    refused = lgsp("subject", "rotate-key", "--reason", "once a year", "--data", province)
    assert (refused.code, "[keys_too_many]" in refused.err) == (1, True)
    assert key.read_bytes() == full


@pytest.mark.parametrize("form", ["table", "jsonl", "csv"])
def test_a_breach_is_listed_and_its_persons_are_counted_once(people, serve_for_a_moment, province, lgsp, form):
    with serve_for_a_moment() as url:
        envs = [send(lgsp, province, number) for number in (NUMBERS[0], NUMBERS[1], NUMBERS[0])]
        auditor = ["--url", url, *people["a0d170"]]
        found = lgsp("audit", "impact", "--system", ASKER, *SPAN, "--format", form, *auditor)
        assert found.code == 0, found.err
        assert "3 exchanges and readings, 2 persons" in found.err
        rows = found.out.splitlines()
        assert len(rows) == {"table": 4, "jsonl": 3, "csv": 4}[form]
        assert form == "table" or all(env in found.out for env in envs)
        no_number_in(found.out + found.err)
        nothing = lgsp("audit", "impact", "--system", ASKER, "--from", "2020-01-01", "--to", "2020-01-02", *auditor)
        assert "0 exchanges and readings, 0 persons" in nothing.err


def test_two_officers_name_the_persons_of_a_list(people, serve_for_a_moment, province, lgsp, tmp_path):
    numbers, request, named = tmp_path / "numbers.txt", tmp_path / "request.json", tmp_path / "named.txt"
    numbers.write_text("\n".join(NUMBERS) + "\n")
    with serve_for_a_moment() as url:
        for number in NUMBERS[:2]:
            send(lgsp, province, number)
        first, second = (["--url", url, *people[name]] for name in ("a0d170", "b1e281"))
        asked = lgsp(
            "audit", "ask-names", "--system", ASKER, *SPAN, "--numbers", numbers, "-o", request, "--reason", "a stolen key",
            *first,
        )  # fmt: skip
        assert asked.code == 0, asked.err
        alone = lgsp("audit", "name", request, "-o", named, *first)
        assert "[not_agreed]" in alone.err
        assert not named.exists()
        told = lgsp("audit", "name", request, "-o", named, *second)
        assert told.code == 0, told.err
        assert "2 of 3 persons" in told.err
        no_number_in(asked.out + asked.err + told.out + told.err)
    assert named.read_text().split() == list(NUMBERS[:2])
    assert {stat.S_IMODE(path.stat().st_mode) for path in (request, named)} == {0o600}
    no_number_in((province.parent / "serve.txt").read_text())
    local = lgsp("audit", "name", request, "-o", tmp_path / "other.txt", "--data", province)
    assert "[not_agreed]" in local.err


@pytest.mark.parametrize("text", ["", "0991850000", "099185000017 099185000024", "seven"])
def test_a_file_that_holds_no_number_is_refused_without_saying_what_it_holds(province, lgsp, number, text):
    number.write_text(text)
    for verb, *more in (["usages"], ["erase", "--reason", "asked for"]):
        refused = lgsp("subject", verb, number, *more, "--data", province)
        assert refused.code == 1
        assert "[bad_request]" in refused.err
        assert not text or text not in refused.err


def test_a_number_is_no_argument_of_any_command(province, lgsp):
    refused = lgsp("subject", "usages", NUMBERS[0], "--data", province)
    assert refused.code == 2
    assert "[bad_request]" in refused.err
    no_number_in(refused.err)


# The guide

GUIDE = Path(__file__).parents[2] / "docs/audit.md"
STEPS = re.compile(r"^```sh (citizen|breach)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def followed(part, folder, url):
    """Follow the steps of a part of the guide as they stand; return what they print."""
    steps = "".join(step for name, step in STEPS.findall(GUIDE.read_text(encoding="utf-8")) if name == part)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    around = {"PATH": path, "HOME": str(folder), "LC_ALL": "C.UTF-8", "BUS": url}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", steps],
        cwd=folder,
        env=around,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, done.stderr


@pytest.mark.usefixtures("people")
def test_an_officer_follows_the_guide_from_a_citizens_question_to_the_erasure(
    serve_for_a_moment, province, lgsp, number
):
    folder = province.parent
    (folder / "trust.json").write_bytes((province / "trust.json").read_bytes())
    assert number.parent == folder
    with serve_for_a_moment() as url:
        send(lgsp, province, NUMBERS[0])
        _, told = followed("citizen", folder, url)
    assert re.findall(r"^([0-9]+) uses from", told, re.MULTILINE) == ["1", "0", "1", "0"]
    assert (folder / "use.proof").read_text().startswith("c2sp.org/tlog-proof@v1\n")


@pytest.mark.usefixtures("people")
def test_two_officers_follow_the_guide_through_a_breach(serve_for_a_moment, province, lgsp):
    folder = province.parent
    (folder / "trust.json").write_bytes((province / "trust.json").read_bytes())
    (folder / "numbers.txt").write_text("\n".join(NUMBERS))
    with serve_for_a_moment() as url:
        for person in NUMBERS[:2]:
            send(lgsp, province, person)
        _, told = followed("breach", folder, url)
    assert "2 exchanges and readings, 2 persons" in told
    assert (folder / "named.txt").read_text().split() == list(NUMBERS[:2])
    assert len((folder / "exchanges.csv").read_text().splitlines()) == 3


def test_the_vietnamese_guide_has_the_same_steps():
    translated = GUIDE.with_name("vi") / GUIDE.name
    assert STEPS.findall(translated.read_text(encoding="utf-8")) == STEPS.findall(GUIDE.read_text(encoding="utf-8"))
