"""`lgsp audit prove` and `lgsp evidence verify`: a bundle leaves the bus's machine, and is believed or not somewhere else."""

from __future__ import annotations

import asyncio
import html.parser
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from lgsp import app
from lgsp.config import Settings
from lgsp.datafolder import DataFolder, hold
from lgsp.domain import statements
from lgsp.domain.envelope import Wire
from lgsp.keyfiles import read_private
from lgsp.machine import SystemClock

BODY = ("--with-body", "--reason", "case 7")
ANSWERER = "urn:lgsp:agency:H01.99:sys:answerer"


async def _exchange(data, wire: Wire, *, acked: bool) -> None:
    """Have the bus of a data folder accept an envelope, and its receiver take it over."""
    async with app.open_bus(Settings.load(data)) as bus:
        await bus.ingress.submit(wire, peer="test")
        if acked:
            head = statements.ack_head(system=ANSWERER, at=SystemClock().now())
            signer = read_private(data / "systems/H01.99-answerer/key.pem")
            item = statements.ack_item(wire.hash, "accepted")
            [ack] = statements.sign_batch([item], head, typ=statements.ACK, signer=signer)
            await bus.settlement.acknowledge(ANSWERER, ack)


@pytest.fixture
def exchanged(province, question):
    """A data folder with one exchange that was taken over, and its envelope."""
    wire = question(casefile="H01.99-20261122-0000001")
    with hold(DataFolder(root=province)):
        asyncio.run(_exchange(province, wire, acked=True))
    return province, wire


@pytest.fixture
def bundle(exchanged, lgsp, tmp_path):
    """The bundle of that exchange, and the trust file, in a folder without anything of the bus."""
    data, wire = exchanged
    away = tmp_path / "away"
    away.mkdir()
    ended = lgsp("audit", "prove", wire.hash, "-o", away / "evidence.json", "--data", data)
    assert ended.code == 0, ended.err
    assert "lgsp evidence verify" in ended.err
    (data / "trust.json").rename(away / "trust.json")
    return away / "evidence.json"


def verify(lgsp, bundle, *more):
    return lgsp("evidence", "verify", bundle, "--trust", bundle.with_name("trust.json"), *more)


def test_a_bundle_is_checked_in_plain_words_without_the_bus(bundle, lgsp):
    ended = verify(lgsp, bundle)
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert lines[-1] == "every check holds"
    assert len(lines) == 13
    assert {line[0] for line in lines[:-1]} == {"✓"}
    assert any("grant ask allowed it; its basis: a test" in line for line in lines)
    assert any(f"named in the log: taken over by {ANSWERER}" in line for line in lines)


def test_it_is_said_in_vietnamese_too(bundle, lgsp):
    ended = verify(lgsp, bundle, "--lang", "vi")
    assert ended.out.splitlines()[-1] == "mọi bước kiểm tra đều đạt"
    assert "được phép theo quyền ask" in ended.out


def test_the_first_check_that_fails_is_named_and_ends_with_its_own_code(bundle, lgsp):
    members = json.loads(bundle.read_text())
    members["message"]["acks"] = []
    bundle.write_text(json.dumps(members))
    ended = verify(lgsp, bundle)
    assert ended.code == 3
    assert ended.err.startswith("lgsp: [evidence_invalid]")
    assert "message, ack: the log names an ack that the bundle does not hold" in ended.err
    assert ended.out.splitlines()[-1].startswith("✗ message, ack")


def test_a_failed_check_and_its_page_are_said_in_vietnamese_too(bundle, lgsp, tmp_path):
    members = json.loads(bundle.read_text())
    members["message"]["acks"] = []
    bundle.write_text(json.dumps(members))
    ended = verify(lgsp, bundle, "--lang", "vi", "--report", tmp_path / "page.html")
    reason = "nhật ký nêu một xác nhận mà bộ chứng cứ không có"
    assert ended.out.splitlines()[-1] == f"✗ thông điệp, xác nhận: {reason}"
    assert f"thông điệp, xác nhận: {reason}" in ended.err
    assert f"thông điệp, xác nhận: KHÔNG ĐẠT: {reason}" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_what_is_no_bundle_ends_with_the_same_code(bundle, lgsp):
    bundle.write_bytes(b"\xff")
    ended = verify(lgsp, bundle)
    assert (ended.code, "form" in ended.err) == (3, True)


class Page(html.parser.HTMLParser):
    """What a page is made of: tags, attributes, words."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.words = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_endtag(self, tag):
        self.tags.append(f"/{tag}")

    def handle_data(self, data):
        self.words.append(data)


@pytest.mark.parametrize("language", ["en", "vi"])
def test_the_report_is_one_page_that_fetches_and_runs_nothing(bundle, lgsp, tmp_path, language):
    ended = verify(lgsp, bundle, "--report", tmp_path / "page.html", "--lang", language)
    assert ended.code == 0, ended.err
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    opened = [tag for tag in page.tags if tag[0] != "/" and tag != "meta"]
    assert sorted(opened) == sorted(tag[1:] for tag in page.tags if tag[0] == "/")
    assert not {"script", "img", "link", "iframe", "object", "form", "a"} & set(page.tags)
    assert {"lang", "class", "charset", "http-equiv", "content"} == set(page.attributes)
    assert not re.search(r"https?:|url\(|@import|javascript:", text)
    words = " ".join(page.words)
    shown = {
        "en": ("Every check holds.", "Case file", "ask: a test"),
        "vi": ("Mọi bước kiểm tra đều đạt.", "Hồ sơ", "ask: a test"),
    }
    assert [each for each in (*shown[language], "H01.99-20261122-0000001", ANSWERER) if each not in words] == []


def test_the_report_of_a_bundle_that_does_not_hold_tells_nothing_of_what_it_states(bundle, lgsp, tmp_path):
    bundle.write_text(bundle.read_text().replace("sha-256:", "sha-257:", 1))
    ended = verify(lgsp, bundle, "--report", tmp_path / "page.html")
    assert ended.code == 3
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "This file proves nothing" in text
    assert "Case file" not in text


def test_a_body_that_is_still_held_is_shown_when_it_is_asked_for_and_the_file_is_nobody_elses(
    province, question, lgsp, tmp_path
):
    wire = question()
    with hold(DataFolder(root=province)):
        asyncio.run(_exchange(province, wire, acked=False))
    plain, whole = tmp_path / "plain.json", tmp_path / "whole.json"
    assert lgsp("audit", "prove", wire.hash, "-o", plain, "--data", province).code == 0
    ended = lgsp("audit", "prove", wire.hash, "-o", whole, "--data", province, *BODY)
    assert ended.code == 0, ended.err
    assert "body" not in json.loads(plain.read_text())["message"]
    assert json.loads(whole.read_text())["message"]["body"] == "e30"
    assert whole.stat().st_mode & 0o777 == 0o600
    told = [json.loads(each["entry"]) for each in json.loads(whole.read_text())["entries"]]
    assert [(entry["ev"], entry.get("by"), entry.get("reason")) for entry in told] == [
        ("msg.accepted", None, None),
        ("audit.read", "local", "case 7"),
    ]
    checked = lgsp("evidence", "verify", whole, "--trust", province / "trust.json")
    assert "the body is the one whose hash was signed" in checked.out


def test_a_body_that_was_settled_is_gone_and_the_evidence_stays(exchanged, lgsp, tmp_path):
    data, wire = exchanged
    ended = lgsp("audit", "prove", wire.hash, "-o", tmp_path / "e.json", "--data", data, *BODY)
    assert ended.code == 0, ended.err
    checked = lgsp("evidence", "verify", tmp_path / "e.json", "--trust", data / "trust.json")
    assert checked.code == 0
    assert "the bundle holds no body (erased, or not shown)" in checked.out


# --- the guide ------------------------------------------------------------------------------------------------------------------------------

ROOT = Path(__file__).parents[2]
SECTION = {
    "docs/audit.md": "## Taking a whole exchange away as evidence",
    "docs/vi/audit.md": "## Lấy trọn một trao đổi làm chứng cứ",
}
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks_of(path):
    text = (ROOT / path).read_text(encoding="utf-8")
    return BLOCK.findall(text.partition(SECTION[path] + "\n")[2].partition("\n## ")[0])


def test_the_guide_s_way_from_the_bus_to_the_inspector_runs_as_it_stands_and_prints_what_it_shows(exchanged):
    data, wire = exchanged
    folder = data.parent / "guide"
    folder.mkdir()
    data.rename(folder / "bus")
    shutil.copy(folder / "bus/trust.json", folder)
    shutil.copy(ROOT / "docs/verify_evidence.py", folder)
    blocks = blocks_of("docs/audit.md")
    script = "\n".join(["set -euo pipefail", *(text for language, text in blocks if language == "sh")])
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    around = {"PATH": path, "HOME": str(folder), "LC_ALL": "C.UTF-8", "env": wire.hash}
    ended = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=around, capture_output=True, text=True, timeout=100, check=False
    )
    assert ended.returncode == 0, ended.stderr
    shown = [line for language, text in blocks if language == "text" for line in text.splitlines()]
    assert len(shown) > 12
    patterns = [".*".join(map(re.escape, line.split("…"))) for line in shown]
    assert [line for line in patterns if not re.search(f"^{line}$", ended.stdout, re.MULTILINE)] == [], ended.stdout


def test_the_vietnamese_guide_has_the_same_blocks():
    assert blocks_of("docs/vi/audit.md") == blocks_of("docs/audit.md")


# --- over the network -----------------------------------------------------------------------------------------------------------------------

OFFICER = "urn:lgsp:agency:H01.99:officer:a0d170"
FAR = {
    path: re.compile(r"^```sh auditor\n(.*?)^```$", re.MULTILINE | re.DOTALL).findall(
        (ROOT / path).read_text(encoding="utf-8")
    )
    for path in SECTION
}


@pytest.fixture
def officer(province, lgsp):
    """The key of an officer with the role auditor, in a folder with the trust file."""
    folder = province.parent / "office"
    folder.mkdir()
    shutil.copy(province / "trust.json", folder)
    key = folder / "a0d170.pem"
    lgsp("keys", "new", key, "--role", "officer")
    proven = lgsp("keys", "prove", key, "--owner", OFFICER, "--trust", folder / "trust.json", "--jwk")
    (folder / "a0d170.jwk").write_text(proven.out)
    added = lgsp("officer", "add", OFFICER, folder / "a0d170.jwk", "--data", province, "--role", "auditor")
    assert added.code == 0, added.err
    return key


def test_an_auditor_elsewhere_follows_the_guide_and_gets_evidence_proof_and_body(
    exchanged, question, officer, lgsp, serve_for_a_moment
):
    data, wire = exchanged
    held, folder = question(), officer.parent
    with hold(DataFolder(root=data)):
        asyncio.run(_exchange(data, held, acked=False))
    [script] = FAR["docs/audit.md"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with serve_for_a_moment() as url:
        around = {"PATH": path, "HOME": str(folder), "LC_ALL": "C.UTF-8", "BUS": url, "env": held.hash}
        ended = subprocess.run(
            ["bash", "-euc", script],
            cwd=folder,
            env=around,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.splitlines()[-1] == "every check holds"
        assert json.loads((folder / "with-body.json").read_text())["message"]["body"] == "e30"
        assert (folder / "with-body.json").stat().st_mode & 0o777 == 0o600
        far = ("--url", url, "--as", OFFICER, "--key", officer, "--trust", folder / "trust.json")
        assert lgsp("audit", "prove", wire.hash, "-o", folder / "of-before.json", *far).code == 0
        assert lgsp("audit", "prove", "2", "-o", folder / "entry.proof", *far).code == 0
        assert lgsp("officer", "roles", OFFICER, "--role", "viewer", "--data", data).code == 0
        refused = lgsp("audit", "prove", wire.hash, "-o", folder / "no.json", *far)
    assert (refused.code != 0, "[forbidden]" in refused.err, (folder / "no.json").exists()) == (True, True, False)
    assert lgsp("evidence", "verify", folder / "of-before.json", "--trust", folder / "trust.json").code == 0
    assert lgsp("audit", "check", folder / "entry.proof", "--trust", folder / "trust.json").code == 0


def test_the_vietnamese_guide_has_the_same_way_over_the_network():
    assert FAR["docs/vi/audit.md"] == FAR["docs/audit.md"]


# --- what is not given out ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", [(), ("--reason", "099185000017"), ("--reason", "")])
def test_no_body_is_read_without_a_reason_that_the_log_can_hold(exchanged, lgsp, tmp_path, reason):
    data, wire = exchanged
    ended = lgsp("audit", "prove", wire.hash, "-o", tmp_path / "e", "--data", data, "--with-body", *reason)
    assert "[bad_request]" in ended.err
    assert not (tmp_path / "e").exists()


def changed(data, sql):
    with closing(sqlite3.connect(data / "bus.sqlite")) as ledger, ledger:
        assert ledger.execute(sql).rowcount > 0


def swapping(table, column, old, new):
    return f"UPDATE {table} SET {column} = CAST(replace(CAST({column} AS TEXT), '{old}', '{new}') AS BLOB)"


DAMAGE = {
    "another receipt": "UPDATE exchange SET receipt = replace(receipt, 'accepted', 'rejected')",
    "no receipt": "UPDATE exchange SET receipt = 'x'",
    "another envelope": swapping("exchange", "compact", "A", "B"),
    "no ack": "UPDATE delivery SET ack = ''",
    "another entry": swapping("entry", "data", '"purpose":"example"', '"purpose":"examplf"'),
    "another number": swapping("entry", "data", '"rule":"ask"', '"rule":"ask'),
    "another directory": swapping("directory_record", "record", "a test", "a lie"),
    "another tree": "UPDATE entry SET leaf = zeroblob(32) WHERE seq = 1",
    "another reply": "UPDATE exchange SET reply = env",
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_ledger_gives_no_bundle(exchanged, lgsp, tmp_path, what):
    data, wire = exchanged
    changed(data, DAMAGE[what])
    ended = lgsp("audit", "prove", wire.hash, "-o", tmp_path / "e", "--data", data)
    expected = (1, "[directory_invalid]") if what == "another directory" else (3, "[log_broken]")
    assert (ended.code, ended.err.split()[1]) == expected
    assert not (tmp_path / "e").exists()


def test_of_what_an_older_program_forgot_there_is_no_bundle_and_it_says_why(exchanged, lgsp, tmp_path):
    data, wire = exchanged
    ledger = sqlite3.connect(data / "bus.sqlite")
    with closing(ledger), ledger:
        ledger.execute("PRAGMA foreign_keys = OFF")
        ledger.execute(
            "INSERT INTO evidence (env, term, compact, acks) SELECT env, 0, compact, ack FROM exchange JOIN delivery USING (env)"
        )
        ledger.execute("DELETE FROM delivery")
        ledger.execute("DELETE FROM exchange")
    ended = lgsp("audit", "prove", wire.hash, "-o", tmp_path / "e", "--data", data)
    assert (ended.code, "[not_found]" in ended.err, "did not keep the receipt" in ended.err) == (1, True, True)
    verified = lgsp("audit", "verify", "--data", data)
    assert (verified.code, "1 forgotten exchanges have no receipt here" in verified.out) == (0, True), verified.err
    changed(data, "DELETE FROM evidence")
    verified = lgsp("audit", "verify", "--data", data, "--moved-off", "2001", "--moved-off", "2002")
    assert (verified.code, "the envelope is not kept" in verified.err) == (3, True)
