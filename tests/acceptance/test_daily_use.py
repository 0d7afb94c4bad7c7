"""Daily use by command: what is parked, officers, changes beside a running gateway and without one, over the network as an officer."""

import json
import re
import stat
import subprocess
import sys
import time

import pytest

from lgsp.cli import gateway_door
from lgsp.datafolder import DataFolder, hold
from lgsp.domain import envelope
from lgsp.testing.authority import Authority

OFFICER = "urn:lgsp:agency:H01.99:officer:a0d170"
ASK = "vn.lgsp.examples.record.ask.v1"
NOBODY = "sha-256:" + "A" * 43
CODE = re.compile(r"^lgsp: \[([a-z_]+)\] ", re.MULTILINE)


def code_of(ended):
    found = CODE.search(ended.err)
    assert found, ended.err
    return found[1]


def entries_in(lgsp, province, of, read=None):
    ended = lgsp("parked", "show", of, "--data", province, "--json")
    assert ended.code == 0, ended.err
    return json.loads(ended.out)["entries"]


def send(lgsp, province, key):
    (province.parent / "body.json").write_text('{"secret":"words"}')
    sent = lgsp(
        "send", ASK, "H01.99/answerer", province.parent / "body.json", "--purpose", "example", "--key", key,
        "--system", province / "systems/H01.99-asker/system.toml",
    )  # fmt: skip
    assert sent.code == 0, sent.err
    return json.loads(sent.out)["env"]


PARK = """
UPDATE delivery SET state = 'parked', attempts = 8, code = 'broken', unseen = 1, wakes_at = expires WHERE state = 'queued' AND env = ?
"""


def park(province, env):
    """Let a delivery stand as if its receiver had put it back eight times; the gateway is not running."""
    import sqlite3

    ledger = sqlite3.connect(province / "bus.sqlite")
    with ledger:
        assert ledger.execute(PARK, (env,)).rowcount == 1
    ledger.close()


@pytest.fixture
def officer(province, lgsp):
    """The files of an officer who may do everything, registered."""
    folder = province.parent
    lgsp("keys", "new", folder / "officer.pem", "--role", "officer")
    proven = lgsp(
        "keys", "prove", folder / "officer.pem", "--owner", OFFICER, "--trust", province / "trust.json", "--jwk"
    )
    (folder / "officer.jwk").write_text(proven.out)
    ended = lgsp(
        "officer", "add", OFFICER, folder / "officer.jwk", "--data", province,
        "--role", "operator", "--role", "viewer", "--role", "registrar",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    return folder / "officer.pem"


@pytest.fixture
def two_parked(province, lgsp, serve_for_a_moment):
    """Two envelopes that were tried too often, on a data folder without a gateway."""
    with serve_for_a_moment():
        envs = [send(lgsp, province, key) for key in ("one", "two")]
    for env in envs:
        park(province, env)
    return envs


# --- without a gateway ---------------------------------------------------------------------------------------------------------------


def test_parked_deliveries_are_listed_shown_replayed_and_dropped_without_a_gateway(two_parked, province, lgsp):
    first, second = two_parked
    listed = lgsp("parked", "list", "--data", province)
    assert (listed.code, "2 of 2 parked" in listed.err) == (0, True)
    assert [env in listed.out for env in two_parked] == [True, True]
    assert "secret" not in listed.out
    shown = lgsp("parked", "show", first, "--data", province)
    assert "→ H01.99/answerer: parked, broken, attempts 8" in shown.out
    replayed = lgsp("parked", "replay", first, "--data", province, "--reason", "mended")
    assert (replayed.code, f"✓ {first}: goes out again" in replayed.out) == (0, True), replayed.err
    again = lgsp("parked", "replay", first, "--data", province, "--reason", "mended")
    assert (again.code, code_of(again), "it is queued" in again.err) == (1, "not_parked", True)
    dropped = lgsp("parked", "drop", second, "--data", province, "--reason", "sent twice")
    assert dropped.code == 0, dropped.err
    assert "nothing is parked" in lgsp("parked", "list", "--data", province).err
    assert (
        entries_in(lgsp, province, first)[-1] | {"ev": "msg.replayed", "by": "local", "reason": "mended"}
        == (entries_in(lgsp, province, first)[-1])
    )
    assert entries_in(lgsp, province, second)[-1]["code"] == "dropped"
    assert lgsp("audit", "verify", "--data", province).code == 0
    assert not (province / "admin.sock").exists()


def test_many_are_changed_at_once_only_when_their_number_is_known(two_parked, province, lgsp):
    every = (
        "parked",
        "drop",
        "--all",
        "--code",
        "broken",
        "--system",
        "H01.99/answerer",
        "--reason",
        "a test",
        "--data",
        province,
    )
    asked = lgsp(*every)
    assert (asked.code, code_of(asked), "2 match" in asked.err) == (1, "unconfirmed", True)
    assert code_of(lgsp(*every, "--count", 3)) == "unconfirmed"
    assert "2 of 2 changed" in lgsp(*every, "--count", 2).err
    rerun = lgsp(*every, "--count", 2)
    assert (rerun.code, "nothing was changed" in rerun.err) == (0, True)


def test_an_envelope_is_saved_for_its_owner_alone_and_the_log_notes_it(two_parked, province, lgsp, tmp_path):
    file = tmp_path / "envelope.json"
    show = ("parked", "show", two_parked[0], "--data", province, "--save", file)
    assert code_of(lgsp(*show)) == "bad_request"
    assert not file.exists()
    saved = lgsp(*show, "--reason", "the schema is in doubt")
    assert (saved.code, saved.out) == (0, ""), saved.err
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert envelope.parse_structured(file.read_bytes()).body == b'{"secret":"words"}'
    read = entries_in(lgsp, province, two_parked[0])[-1]
    assert (read["ev"], read["by"], read["reason"]) == ("admin.parked.read", "local", "the schema is in doubt")
    size = len(entries_in(lgsp, province, two_parked[0]))
    assert code_of(lgsp(*show, "--reason", "again")) == "file_exists"
    assert len(entries_in(lgsp, province, two_parked[0])) == size


@pytest.mark.parametrize(
    "arguments",
    [
        ("replay", "--reason", "x"),
        ("replay", NOBODY, "--all", "--reason", "x"),
        ("replay", NOBODY, "--count", "1", "--reason", "x"),
        ("drop", "sha-256:short", "--reason", "x"),
        ("drop", NOBODY, "--reason", "asked by 099185000017"),
        ("show", "17"),
        ("list", "--system", "nobody"),
        ("list", "--as", OFFICER),
        ("list", "--url", "https://bus.example.vn"),
        ("list", "--url", "http://bus.example.vn", "--as", OFFICER, "--key", "k.pem"),
        ("list", "--url", "https://bus.example.vn", "--as", "nobody", "--key", "k.pem"),
    ],
)
def test_a_command_that_is_used_wrongly_says_so_and_does_nothing(province, lgsp, arguments):
    ended = lgsp("parked", *arguments, "--data", province)
    assert ended.code in {1, 2}
    assert code_of(ended) == "bad_request"
    assert "099185000017" not in ended.err


def test_a_second_writer_is_told_who_holds_the_folder(province, lgsp, monkeypatch):
    monkeypatch.setattr(gateway_door, "PATIENCE", 0.3)
    with hold(DataFolder(root=province), command="lgsp init"):
        for command in (("parked", "list"), ("status",), ("officer", "roles", OFFICER, "--none")):
            ended = lgsp(*command, "--data", province)
            if command[0] == "officer":
                assert code_of(ended) == "not_found"
                continue
            assert (ended.code, code_of(ended)) == (2, "data_locked")
            assert re.search(r"held by lgsp init since \S+Z, process \d+ on \S+", ended.err)


def test_a_command_waits_for_another_that_is_about_to_end(province, lgsp):
    command = [sys.executable, "-c", HOLD_A_MOMENT, str(province)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        assert lgsp("status", "--data", province).code == 0
    assert process.returncode == 0


HOLD_A_MOMENT = """
import sys, time
from pathlib import Path
from lgsp.datafolder import DataFolder, hold
with hold(DataFolder(root=Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(1.0)
"""


# --- beside a running gateway, and over the network ------------------------------------------------------------------------------------


def test_an_operator_decides_over_the_network_and_is_named_in_the_log(
    two_parked, officer, province, lgsp, serve_for_a_moment
):
    first, second = two_parked
    with serve_for_a_moment() as url:
        far = ("--url", url, "--as", OFFICER, "--key", officer, "--trust", province / "trust.json")
        assert "2 of 2 parked" in lgsp("parked", "list", *far).err
        assert lgsp("parked", "replay", first, "--reason", "mended", *far).code == 0
        assert lgsp("parked", "drop", second, "--reason", "sent twice", "--data", province).code == 0
        assert lgsp("status", *far).code == 0
        assert [entry["by"] for entry in entries_in(lgsp, province, first) if "by" in entry] == [OFFICER]
        assert [entry["by"] for entry in entries_in(lgsp, province, second) if "by" in entry] == ["local"]
        assert code_of(lgsp("parked", "show", NOBODY, *far)) == "not_found"


def test_the_registrar_changes_the_directory_over_the_network(officer, province, lgsp, serve_for_a_moment, tmp_path):
    (tmp_path / "d.toml").write_text('[[agency]]\nid = "H01.98"\n')
    with serve_for_a_moment() as url:
        far = ("--url", url, "--as", OFFICER, "--key", officer, "--trust", province / "trust.json")
        apply = ("directory", "apply", tmp_path / "d.toml", *far)
        assert code_of(lgsp(*apply)) == "bad_request"
        applied = lgsp(*apply, "--registrar", province / "registrar/registrar.pem", "--reason", "Decision 7")
        assert (applied.code, "is in force" in applied.err) == (0, True), applied.err
        assert "nothing to change" in lgsp(*apply, "--registrar", province / "registrar/registrar.pem").err


def test_an_officer_without_the_role_is_refused(officer, province, lgsp, serve_for_a_moment):
    assert lgsp("officer", "roles", OFFICER, "--role", "viewer", "--data", province).code == 0
    with serve_for_a_moment() as url:
        far = ("--url", url, "--as", OFFICER, "--key", officer, "--trust", province / "trust.json")
        assert lgsp("parked", "list", *far).code == 0
        assert code_of(lgsp("parked", "drop", NOBODY, "--reason", "x", *far)) == "forbidden"
        assert lgsp("officer", "revoke", OFFICER, "--data", province).code == 0
        assert code_of(lgsp("parked", "list", *far)) == "auth_invalid"


def test_a_key_that_was_revoked_is_not_registered_again(officer, province, lgsp):
    again = ("officer", "add", OFFICER, officer.with_suffix(".jwk"), "--role", "viewer", "--data", province)
    assert lgsp("officer", "revoke", OFFICER, "--data", province).code == 0
    refused = lgsp(*again)
    assert (refused.code, code_of(refused), "never holds again" in refused.err) == (1, "key_refused", True)


def test_an_officer_is_registered_only_with_the_proof_of_holding_the_key(province, lgsp, tmp_path):
    (tmp_path / "k.jwk").write_text(lgsp("keys", "new", tmp_path / "k.pem", "--role", "officer").out)
    add = ("officer", "add", OFFICER, tmp_path / "k.jwk", "--role", "viewer", "--data", province)
    assert code_of(lgsp(*add)) == "key_refused"
    assert code_of(lgsp(*add, "--role", "king")) == "bad_request"
    proof = lgsp(
        "keys", "prove", tmp_path / "k.pem", "--owner", OFFICER, "--trust", province / "trust.json"
    ).out.strip()
    assert lgsp(*add, "--proof", proof).code == 0


def test_revoking_names_the_grants_that_still_name_the_officer(officer, province, lgsp):
    grant = AGAIN["grant add"]
    assert lgsp(*grant, "--officer", "a0d170", "--data", province).code == 0
    ended = lgsp("officer", "revoke", OFFICER, "--data", province)
    assert "grants that still name a0d170: again" in ended.err


def test_a_subscription_begins_and_ends_with_a_version_and_may_begin_again(province, lgsp):
    def subscriptions():
        shown = lgsp("directory", "show", "--kind", "subscription", "--json", "--data", province)
        return [json.loads(line) for line in shown.out.splitlines()]

    for word in ("subscription add", "subscription end", "subscription add"):
        ended = lgsp(*AGAIN[word], "--data", province)
        assert ended.code == 0, ended.err
        version = json.loads(lgsp("status", "--data", province, "--json").out)["version"]
        [found] = subscriptions()
        assert (found["subscriber"], found["type"]) == ("urn:lgsp:agency:H01.99:sys:answerer", ASK)
        assert found.get("until") == (version if word.endswith("end") else None)
    assert code_of(lgsp("subscription", "end", "nothing", "--data", province)) == "not_found"
    unknown = ("subscription", "add", "x", "--subscriber", "H01.99/nobody", "--type", ASK, "--data", province)
    assert code_of(lgsp(*unknown)) == "directory_invalid"


def test_an_officer_reaches_a_gateway_behind_an_authority_of_its_own(officer, province, lgsp, serve_for_a_moment):
    authority = Authority.make(province / "tls")
    pair = authority.sign("gateway", addresses=["127.0.0.1"])
    settings = province / "lgsp.toml"
    paths = f'[http]\ntls_cert = "{pair.cert}"\ntls_key = "{pair.key}"\n'
    settings.write_text(settings.read_text().replace("[http]\n", paths))
    with serve_for_a_moment() as url:
        far = ("--url", url, "--as", OFFICER, "--key", officer, "--trust", province / "trust.json")
        assert url.startswith("https://")
        assert lgsp("status", *far, "--ca", authority.cert).code == 0
        assert code_of(lgsp("status", *far)) == "unavailable"


def test_where_no_gateway_listens_the_command_says_so(officer, province, lgsp):
    far = ("--url", "http://127.0.0.1:9", "--as", OFFICER, "--key", officer, "--trust", province / "trust.json")
    assert code_of(lgsp("status", *far)) == "unavailable"


def test_of_two_who_apply_at_once_both_changes_come_into_force_or_one_is_told(province, lgsp, tmp_path):
    for name in ("97", "98"):
        (tmp_path / f"{name}.toml").write_text(f'[[agency]]\nid = "H01.{name}"\n')
    command = [sys.executable, "-m", "lgsp.cli", "directory", "apply", "--data", str(province)]
    runs = [
        subprocess.Popen([*command, str(tmp_path / f"{name}.toml")], stderr=subprocess.PIPE, text=True)
        for name in ("97", "98")
    ]
    ended = [(run.communicate(timeout=60)[1], run.returncode) for run in runs]
    assert sorted(code for _, code in ended) in ([0, 0], [0, 1])
    for words, code in ended:
        assert code == 0 or "lgsp: [directory_moved]" in words
    for name in ("97", "98"):
        assert lgsp("directory", "apply", tmp_path / f"{name}.toml", "--data", province).code == 0
    shown = lgsp("directory", "show", "--kind", "agency", "--data", province).out
    assert [f"H01.{name}" in shown for name in ("97", "98")] == [True, True]


# --- again, with the same inputs -------------------------------------------------------------------------------------------------------

AGAIN = {
    "init": ("init",),
    "directory apply": ("directory", "apply", "FOLDER/directory.toml"),
    "system new": ("system", "new", "H01.99/third"),
    "system add": ("system", "add", "H01.99/third", "FOLDER/key.jwk", "--name", "Third"),
    "keys add": ("keys", "add", "FOLDER/key.jwk", "--owner", "H01.99/third"),
    "grant add": (
        "grant", "add", "again", "--grantee", "H01.99/asker", "--type", ASK, "--audience", "H01.99/answerer", "--basis", "a test",
    ),
    "subscription add": ("subscription", "add", "again", "--subscriber", "H01.99/answerer", "--type", ASK),
    "subscription end": ("subscription", "end", "again"),
    "officer add": ("officer", "add", OFFICER, "FOLDER/officer.jwk", "--role", "viewer"),
    "officer roles": ("officer", "roles", OFFICER, "--role", "auditor"),
    "officer revoke": ("officer", "revoke", OFFICER),
    "parked drop": ("parked", "drop", "--all", "--count", "1", "--reason", "x"),
}  # fmt: skip
NEEDS = {
    "keys add": "system add",
    "subscription end": "subscription add",
    "officer roles": "officer add",
    "officer revoke": "officer add",
}
SAYS = ("nothing was changed", "nothing to change")


@pytest.mark.parametrize("name", AGAIN)
def test_a_command_that_is_run_again_with_the_same_inputs_changes_nothing_and_says_so(name, province, lgsp):
    folder = province.parent
    (folder / "key.jwk").write_text(public_of(lgsp, province, "urn:lgsp:agency:H01.99:sys:third"))
    (folder / "officer.jwk").write_text(public_of(lgsp, province, OFFICER))

    def run(which):
        words = [word.replace("FOLDER", str(folder)) for word in AGAIN[which]]
        ended = lgsp(*words, "--data", province)
        assert ended.code == 0, ended.err
        return ended

    if name in NEEDS:
        run(NEEDS[name])
    run(name)
    before = state_of(province, lgsp)
    assert any(words in run(name).err for words in SAYS)
    assert state_of(province, lgsp) == before


def public_of(lgsp, province, owner):
    file = province.parent / f"{owner.rpartition(':')[2]}.pem"
    lgsp("keys", "new", file)
    return lgsp("keys", "prove", file, "--owner", owner, "--trust", province / "trust.json", "--jwk").out


def state_of(province, lgsp):
    """The log's size, the directory, and every file of a person's."""
    files = {
        path: path.read_bytes() for path in province.rglob("*") if path.is_file() and "bus.sqlite" not in path.name
    }
    files.pop(province / "lock")  # names whoever came last
    status = json.loads(lgsp("status", "--data", province, "--json").out)
    return files, status["entries"], status["version"]


def test_a_running_gateway_is_named_by_a_second_one(province, lgsp, serve_for_a_moment):
    with serve_for_a_moment():
        end = time.monotonic() + 5
        second = lgsp("serve", "--data", province)
        assert time.monotonic() < end
    assert (second.code, code_of(second)) == (2, "data_locked")
    assert "held by lgsp serve since" in second.err
