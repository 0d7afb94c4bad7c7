"""Entries as lines: exact for programs, harmless for spreadsheets, short for people."""

import csv
import io
import json

import pytest

from lgsp.cli.audit.entry_lines import COLUMNS, FORMS
from lgsp.cli.voice import own_voice
from lgsp.domain.entries import draft
from lgsp.testing.samples import NOW
from lgsp.testing.world import FISHERIES, GATEWAY, POPULATION

ENTRY = draft(
    "msg.accepted", at=NOW, bus=GATEWAY, src=FISHERIES, aud=POPULATION, sc=["a", "b"], reason='=1+1,"x"'
).numbered(3)


def written(form, capsys, *, language="en"):
    made = FORMS[form](own_voice(["--lang", language]))
    made.begin()
    made.write(ENTRY)
    return capsys.readouterr().out


def test_a_json_line_is_the_leaf_itself(capsys):
    assert written("jsonl", capsys).encode() == ENTRY + b"\n"


def test_a_row_has_every_member_and_nothing_that_a_spreadsheet_would_carry_out(capsys):
    [row] = csv.DictReader(io.StringIO(written("csv", capsys)))
    assert tuple(row) == COLUMNS
    assert (row["seq"], row["src"], row["sc"], row["code"]) == ("3", FISHERIES, "a b", "")
    assert row["reason"] == "'" + json.loads(ENTRY)["reason"]


@pytest.mark.parametrize(("language", "title"), [("en", "event"), ("vi", "sự kiện")])
def test_a_table_speaks_the_language_of_who_reads_it(capsys, language, title):
    head, line = written("table", capsys, language=language).splitlines()
    assert title in head
    assert "H01.12/vnfishbase" in line
