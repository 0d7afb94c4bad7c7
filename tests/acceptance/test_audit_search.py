"""`lgsp audit search`: on a data folder without a gateway, beside one, and over the network; in every form, and the search is an entry."""

import asyncio
import csv
import io
import json
import re
import shlex
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from lgsp import app
from lgsp.config import Settings
from lgsp.datafolder import DataFolder, hold

ROOT = Path(__file__).parents[2]
OFFICER = "urn:lgsp:agency:H01.99:officer:a0d170"
CASE = "H01.99-20261122-0000001"


async def submit(province, wires):
    async with app.open_bus(Settings.load(province)) as bus:
        return [await bus.ingress.submit(wire, peer="test") for wire in wires]


@pytest.fixture
def asked(province, question):
    """A folder with three questions in its log, two of them of one case file; their env hashes."""
    wires = [question(casefile=CASE), question(casefile=CASE), question()]
    with hold(DataFolder(root=province)):
        asyncio.run(submit(province, wires))
    return [wire.hash for wire in wires]


def lines(ended):
    assert ended.code == 0, ended.err
    return [json.loads(line) for line in ended.out.splitlines()]


def search(lgsp, province, *given):
    return lgsp("audit", "search", "--data", province, *given)


def test_entries_are_found_by_what_they_are_about(asked, province, lgsp):
    first, second, third = asked
    for given, expected in (
        (("--casefile", CASE), {first, second}),
        (("--casefile", CASE, "--env", second), {second}),
        (("--env", third), {third}),
        (("--system", "H01.99/asker", "--event", "msg.accepted"), {first, second, third}),
        (("--from", "2020-01-01", "--until", "2020-01-02"), set()),
    ):
        found = lines(search(lgsp, province, "--format", "jsonl", *given))
        assert {entry["env"] for entry in found} == expected, given
    assert lgsp("audit", "verify", "--data", province).code == 0


def test_each_form_holds_the_same_entries(asked, province, lgsp):
    del asked
    exact = lines(search(lgsp, province, "--format", "jsonl", "--casefile", CASE))
    rows = list(csv.DictReader(io.StringIO(search(lgsp, province, "--format", "csv", "--casefile", CASE).out)))
    assert [(row["seq"], row["env"], row["ev"]) for row in rows] == [
        (str(entry["seq"]), entry["env"], entry["ev"]) for entry in exact
    ]
    head, *shown = search(lgsp, province, "--casefile", CASE).out.splitlines()
    assert head.split() == ["index", "time", "event", "from", "to", "particulars"]
    assert [line.split()[0] for line in shown] == [str(entry["seq"]) for entry in exact]
    assert all("H01.99/asker" in line for line in shown)


def test_a_search_is_an_entry_of_whoever_may_open_the_folder_and_a_limit_ends_it(asked, province, lgsp):
    del asked
    ended = search(lgsp, province, "--format", "jsonl", "--limit", "2")
    assert (len(lines(ended)), "2 entries" in ended.err) == (2, True)
    readings = lines(search(lgsp, province, "--format", "jsonl", "--event", "audit.read"))
    assert [entry["by"] for entry in readings] == ["local", "local"]


def test_a_persons_number_is_read_from_a_file_and_is_nowhere_in_the_folder(asked, province, lgsp):
    del asked
    number = "099123456789"
    (province.parent / "number.txt").write_text(f"CCCD {number}\n")
    assert lines(search(lgsp, province, "--format", "jsonl", "--person", province.parent / "number.txt")) == []
    (province.parent / "number.txt").write_text("ABC 1")
    assert "bad_request" in search(lgsp, province, "--person", province.parent / "number.txt").err
    assert number.encode() not in b"".join(path.read_bytes() for path in province.rglob("*") if path.is_file())


def test_beside_a_gateway_and_over_the_network_the_same_is_found(asked, province, lgsp, serve_for_a_moment):
    key = province.parent / "officer.pem"
    lgsp("keys", "new", key, "--role", "officer")
    proven = lgsp("keys", "prove", key, "--owner", OFFICER, "--trust", province / "trust.json", "--jwk")
    (province.parent / "officer.jwk").write_text(proven.out)
    add = ("officer", "add", OFFICER, province.parent / "officer.jwk", "--data", province)
    assert lgsp(*add, "--role", "auditor").code == 0
    given = ("--casefile", CASE, "--format", "jsonl")
    with serve_for_a_moment() as url:
        far = ("--url", url, "--as", OFFICER, "--key", key, "--trust", province / "trust.json")
        near = lines(search(lgsp, province, *given))
        assert lines(lgsp("audit", "search", *far, *given)) == near
        assert {entry["env"] for entry in near} == set(asked[:2])
        readings = lines(search(lgsp, province, "--event", "audit.read", "--format", "jsonl"))
        assert [entry["by"] for entry in readings] == ["local", OFFICER, "local"]
        assert lgsp("officer", "roles", OFFICER, "--role", "viewer", "--data", province).code == 0
        assert "forbidden" in lgsp("audit", "search", *far, *given).err


@pytest.mark.parametrize(
    "given", [("--from", "yesterday"), ("--agency", "nobody"), ("--env", "x"), ("--event", "msg.none")]
)
def test_what_is_not_of_its_form_is_refused(province, lgsp, given):
    ended = search(lgsp, province, *given)
    assert (ended.code != 0, "[bad_request]" in ended.err) == (True, True)


def test_a_catalogue_that_lost_rows_hides_entries_from_a_search_and_changes_nothing_of_the_log(asked, province, lgsp):
    given = ("--casefile", CASE, "--format", "jsonl")
    whole = lines(search(lgsp, province, *given))
    with closing(sqlite3.connect(province / "bus.sqlite")) as ledger, ledger:
        ledger.execute("DELETE FROM mention WHERE env = ?", (asked[0],))
    assert {entry["env"] for entry in lines(search(lgsp, province, *given))} == {asked[1]}
    assert lgsp("audit", "verify", "--data", province).code == 0
    with closing(sqlite3.connect(province / "bus.sqlite")) as ledger, ledger:
        ledger.execute("DELETE FROM mention")
    assert lines(search(lgsp, province, *given)) == whole


def test_whoever_reads_the_entries_may_have_enough(asked, province, run_apart, start):
    del asked
    run = start("audit", "search", "--data", str(province), "--format", "jsonl", cwd=province.parent)
    run.process.stdout.close()
    with run.process.stderr as said:
        assert "Traceback" not in said.read()
    assert run.process.wait(timeout=60) == 0
    assert run_apart("audit", "verify", "--data", str(province), cwd=province.parent)[0] == 0


def commands_of(guide):
    text = (ROOT / "docs" / guide).read_text()
    return re.findall(r"^lgsp (audit search .*)$", text, re.MULTILINE)


@pytest.mark.parametrize("guide", ["audit.md", "vi/audit.md"])
def test_the_searches_of_the_guide_run(asked, province, lgsp, guide, monkeypatch):
    del asked
    monkeypatch.chdir(province.parent)
    Path("number.txt").write_text("CCCD 099123456789\n")
    commands = commands_of(guide)
    assert len(commands) == 5
    for command in commands:
        words = shlex.split(command.partition(" > ")[0])
        ended = lgsp(*[str(province) if word == "DIR" else word for word in words])
        assert (ended.code, "entries" in ended.err) == (0, True), command + ended.err
