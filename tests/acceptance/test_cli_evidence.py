"""`lgsp audit prove` and `lgsp evidence verify`: a bundle leaves the bus's machine, and is believed or not somewhere else."""

from __future__ import annotations

import asyncio
import html.parser
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lgsp import app
from lgsp.config import Settings
from lgsp.datafolder import DataFolder, hold
from lgsp.domain import statements
from lgsp.domain.envelope import Wire
from lgsp.keyfiles import read_private
from lgsp.machine import SystemClock

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
    ended = lgsp("audit", "prove", wire.hash, "-o", whole, "--data", province, "--with-body")
    assert ended.code == 0, ended.err
    assert "body" not in json.loads(plain.read_text())["message"]
    assert json.loads(whole.read_text())["message"]["body"] == "e30"
    assert whole.stat().st_mode & 0o777 == 0o600
    checked = lgsp("evidence", "verify", whole, "--trust", province / "trust.json")
    assert "the body is the one whose hash was signed" in checked.out


def test_a_body_that_was_settled_is_gone_and_the_evidence_stays(exchanged, lgsp, tmp_path):
    data, wire = exchanged
    ended = lgsp("audit", "prove", wire.hash, "-o", tmp_path / "e.json", "--data", data, "--with-body")
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
