"""The log's part of the published vectors: every byte made again from the stated inputs."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lgsp.domain.base64url import decode, encode
from lgsp.domain.checkpoint import (
    Checkpoint,
    checkpoint_body,
    format_proof,
    open_checkpoint,
    parse_proof,
    verify_proof,
)
from lgsp.domain.merkle import (
    Frontier,
    batch_paths,
    consistency_path,
    inclusion_path,
    leaf_hash,
    root,
    verify_consistency,
    verify_inclusion,
)
from lgsp.domain.notes import (
    LOG_KEY,
    WITNESS_KEY,
    NoteKey,
    cosign_note,
    format_vkey,
    open_note,
    parse_vkey,
    sign_note,
)
from lgsp.domain.sealing import open_sealed, seal
from lgsp.domain.subjects import commitment, pseudonym

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "envelope_v1.json").read_text("utf-8"))
LOG = VECTORS["log"]
ENTRIES = [entry.encode() for entry in LOG["entries"]]
HASHES = [leaf_hash(entry) for entry in ENTRIES]
HEAD = Checkpoint(origin=LOG["origin"], size=len(ENTRIES), root=root(HASHES))
LOG_VKEY = parse_vkey(LOG["log_vkey"])
WITNESS_VKEY = parse_vkey(LOG["witness_vkey"])


def make_signer(owner: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(sha256(VECTORS["key_labels"][owner].encode()).digest())


def read_payload(jws: str) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads(decode(jws.split(".")[1]))
    return payload


def test_leaf_hashes_are_those_of_the_vectors():
    assert [leaf.hex() for leaf in HASHES] == LOG["leaf_hashes_hex"]


def test_roots_of_all_sizes_are_those_of_the_vectors():
    frontier = Frontier()
    for size, expected in enumerate(LOG["roots_hex"], start=1):
        frontier.append(HASHES[size - 1])
        assert frontier.root().hex() == root(HASHES[:size]).hex() == expected


def test_the_logs_of_all_sizes_are_consistent():
    roots = [bytes.fromhex(text) for text in LOG["roots_hex"]]
    for new in range(1, len(roots) + 1):
        for old in range(1, new + 1):
            path = consistency_path(HASHES[:new], old)
            assert verify_consistency(old, new, roots[old - 1], roots[new - 1], path)


@pytest.mark.parametrize(("owner", "kind"), [("log", LOG_KEY), ("witness", WITNESS_KEY)])
def test_key_texts_are_made_from_the_seeds(owner: str, kind: int):
    text = LOG[f"{owner}_vkey"]
    public = make_signer(owner).public_key().public_bytes_raw()
    key = NoteKey(name=text.partition("+")[0], kind=kind, public=public)
    assert format_vkey(key) == text
    assert parse_vkey(text) == key


def test_the_checkpoint_is_made_byte_for_byte():
    body = checkpoint_body(HEAD)
    signed = sign_note(body, LOG["origin"], make_signer("log").sign, LOG_VKEY.public)
    time = open_note(LOG["checkpoint"], [WITNESS_VKEY]).signatures[0].time
    assert time is not None
    line = cosign_note(body, WITNESS_VKEY.name, make_signer("witness").sign, WITNESS_VKEY.public, time)
    assert signed + line == LOG["checkpoint"]


def test_the_witness_signed_at_the_stated_second():
    note = open_note(LOG["checkpoint"], [LOG_VKEY, WITNESS_VKEY])
    assert [signature.time for signature in note.signatures] == [None, 1_795_306_592]  # 2026-11-22T00:16:32Z


def test_the_checkpoint_opens_to_the_head_of_the_log():
    assert open_checkpoint(LOG["checkpoint"], LOG_VKEY, [WITNESS_VKEY]) == HEAD


def test_the_proof_of_entry_two_is_made_byte_for_byte_and_verifies():
    text = LOG["proof_index_2"]
    assert format_proof(2, inclusion_path(HASHES, 2), LOG["checkpoint"]) == text
    assert parse_proof(text).checkpoint == LOG["checkpoint"]
    assert verify_proof(text, ENTRIES[2], LOG_VKEY, [WITNESS_VKEY]) == HEAD


def test_a_person_is_committed_to_as_in_the_vectors():
    person = VECTORS["person"]
    ps = pseudonym(bytes.fromhex(person["key_hex"]), person["scheme"], person["number"])
    assert ps.hex() == person["ps_hex"]
    assert commitment(bytes.fromhex(person["salt_hex"]), ps) == person["sc"]


def test_the_person_s_commitment_stands_in_the_log_and_the_number_does_not():
    person = VECTORS["person"]
    assert any(person["sc"] in json.loads(entry).get("sc", []) for entry in ENTRIES)
    assert not any(person["number"].encode() in entry for entry in ENTRIES)


def test_the_body_is_sealed_byte_for_byte_and_opens_again():
    sealed = VECTORS["sealed_body"]
    key = sha256(sealed["key_label"].encode()).digest()
    body = VECTORS["request"]["body"].encode()
    expected = bytes.fromhex(sealed["sealed_hex"])
    assert seal(key, sealed["associated_data"], body, bytes.fromhex(sealed["nonce_hex"])) == expected
    assert open_sealed(key, sealed["associated_data"], expected) == body
    assert sealed["associated_data"] == VECTORS["request"]["env"]


@pytest.mark.parametrize("name", ["receipt_accepted", "receipt_rejected", "ack"])
def test_the_item_of_a_statement_is_under_its_signed_root(name: str):
    statement = VECTORS[name]
    payload = read_payload(statement["jws"])
    top = decode(payload["root"].removeprefix("sha-256:"))
    path = [decode(node) for node in statement["path"]]
    leaf = leaf_hash(statement["item"].encode())
    assert verify_inclusion(leaf, statement["pos"], payload["size"], path, top)
    assert not verify_inclusion(leaf, statement["pos"] + 1, payload["size"], path, top)
    assert not verify_inclusion(leaf_hash(b"{}"), statement["pos"], payload["size"], path, top)


@pytest.mark.parametrize("name", ["receipt_rejected", "ack"])
def test_a_batch_of_one_is_made_as_in_the_vectors(name: str):
    statement = VECTORS[name]
    top, paths = batch_paths([leaf_hash(statement["item"].encode())])
    assert f"sha-256:{encode(top)}" == read_payload(statement["jws"])["root"]
    assert paths == [statement["path"]] == [[]]


@pytest.mark.parametrize("name", ["receipt_accepted", "receipt_rejected"])
def test_a_receipt_names_the_leaf_of_its_entry(name: str):
    item = json.loads(VECTORS[name]["item"])
    assert item["leaf"] == f"sha-256:{encode(HASHES[item['index']])}"


def test_the_entry_of_an_ack_names_the_leaf_of_the_ack_s_item():
    statement = f"sha-256:{encode(leaf_hash(VECTORS['ack']['item'].encode()))}"
    assert [json.loads(entry)["seq"] for entry in ENTRIES if json.loads(entry).get("stmt") == statement] == [5]


def test_the_directories_records_are_under_their_signed_roots():
    for version in VECTORS["directory"]:
        records = sorted(record.encode() for record in version["records"])
        payload = read_payload(version["statement"])
        assert payload["size"] == len(records)
        assert payload["root"] == f"sha-256:{encode(root([leaf_hash(record) for record in records]))}"
