"""The items of the published receipts, made again from what they state and the log's own leaf hashes."""

import json
from pathlib import Path

import pytest

from lgsp.domain import base64url
from lgsp.ports.ledger import ReceiptItem

VECTORS = json.loads(Path(__file__).with_name("envelope_v1.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["receipt_accepted", "receipt_rejected"])
def test_a_receipt_item_has_the_published_bytes(name):
    published = VECTORS[name]["item"]
    stated = json.loads(published)
    item = ReceiptItem(**{member: stated[member] for member in stated if member not in {"index", "leaf"}})
    leaf = base64url.decode(stated["leaf"].removeprefix("sha-256:"))
    assert item.numbered(stated["index"], leaf).decode() == published


def test_a_receipt_item_names_a_leaf_of_the_log():
    stated = json.loads(VECTORS["receipt_accepted"]["item"])
    leaf = base64url.decode(stated["leaf"].removeprefix("sha-256:"))
    assert leaf.hex() == VECTORS["log"]["leaf_hashes_hex"][stated["index"]]
