"""The published vectors of keys, envelopes, statements, directory and entries: parsed, verified, and made again from their stated inputs."""

import json
from base64 import b64decode
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jws as joserfc_jws
from joserfc.jwk import ECKey, OKPKey

from lgsp.domain import (
    admission,
    base64url,
    directory,
    entries,
    envelope,
    jws,
    keys,
    merkle,
    names,
    records,
    statements,
    strictjson,
)
from lgsp.domain.merkle import leaf_hash

VECTORS = json.loads((Path(__file__).parent / "envelope_v1.json").read_text("utf-8"))
OWNERS = VECTORS["owners"]
LOG = VECTORS["log"]["origin"]
SIGNED_BY = {"request": "sender", "reply_delegated": "bridge", "request_es256": "sender es256"}
STATED = [
    ("receipt_accepted", statements.RECEIPT, "gateway"),
    ("receipt_rejected", statements.RECEIPT, "gateway"),
    ("ack", statements.ACK, "bridge"),
]
each_envelope = pytest.mark.parametrize("name", SIGNED_BY)
each_statement = pytest.mark.parametrize(("name", "typ", "owner"), STATED)


def signer_of(owner: str) -> keys.PrivateKey:
    if owner == "sender es256":
        return keys.p256_from_scalar(int.from_bytes(sha256(VECTORS["es256_key"]["label"].encode()).digest(), "big"))
    return keys.ed25519_from_seed(sha256(VECTORS["key_labels"][owner].encode()).digest())


def stated_jwk(owner: str) -> dict[str, str]:
    found = VECTORS["es256_key"] if owner == "sender es256" else VECTORS["keys"][owner]
    return {name: value for name, value in found.items() if name != "label"}


def wire_of(name: str) -> envelope.Wire:
    return envelope.Wire(compact=VECTORS[name]["compact"].encode(), body=VECTORS[name]["body"].encode())


def opened(position: int) -> directory.Directory:
    held = VECTORS["directory"][position]
    return directory.open_directory(
        held["statement"].encode(),
        [record.encode() for record in held["records"]],
        signer_of("registrar").public,
        bus=OWNERS["registrar"],
    )


def made_directory(*owners: tuple[str, str]) -> directory.Directory:
    """Version 2 of the vectors' directory with further keys, which the vectors use and do not register."""
    encoded = [record.encode() for record in VECTORS["directory"][1]["records"]]
    for signer, owner in owners:
        key = signer_of(signer)
        encoded.append(
            strictjson.compact(
                {
                    "kind": "key",
                    "id": key.kid,
                    "owner": OWNERS[owner],
                    "role": "system",
                    "jwk": key.public.jwk,
                    "since": 2,
                }
            )
        )
    registrar = signer_of("registrar")
    at = datetime.fromisoformat("2026-11-22T00:05:00Z")
    statement = statements.sign_directory(encoded, signer=registrar, bus=OWNERS["registrar"], version=2, prev="", at=at)
    return directory.open_directory(statement, encoded, registrar.public, bus=OWNERS["registrar"])


@pytest.mark.parametrize("owner", [*VECTORS["keys"], "sender es256"])
def test_a_key_is_made_from_its_label_with_jwk_and_thumbprint(owner):
    public = signer_of(owner).public
    assert public.jwk == stated_jwk(owner)
    assert keys.thumbprint(stated_jwk(owner)) == public.kid == stated_jwk(owner)["kid"]
    assert keys.public_key(stated_jwk(owner)) == public


@pytest.mark.parametrize("owner", ["log", "witness"])
def test_the_keys_of_notes_are_made_from_their_labels(owner):
    written = b64decode(VECTORS["log"][f"{owner}_vkey"].split("+", 2)[2])
    assert written[1:] == base64url.decode(signer_of(owner).public.jwk["x"])


@pytest.mark.parametrize("owner", OWNERS)
def test_every_owner_has_a_name_of_the_protocol(owner):
    forms = (names.SYSTEM_FORM, names.OFFICER_FORM, names.GATEWAY_FORM, names.BUS_FORM)
    assert sum(form.fullmatch(OWNERS[owner]) is not None for form in forms) == 1


@each_envelope
def test_the_signature_of_an_envelope_verifies(name):
    signer = signer_of(SIGNED_BY[name])
    parsed = jws.parse(wire_of(name).compact, typ=envelope.TYP)
    assert (parsed.kid, parsed.alg) == (signer.kid, signer.alg)
    jws.verify(parsed, signer.public)
    assert jws.hash_of(wire_of(name).compact) == wire_of(name).hash == VECTORS[name]["env"]


@each_envelope
def test_the_manifest_of_an_envelope_is_the_stated_one_in_the_stated_order(name):
    payload = jws.parse(wire_of(name).compact, typ=envelope.TYP).payload
    manifest = envelope.parse_manifest(payload)
    assert list(manifest.attributes.items()) == list(VECTORS[name]["manifest"].items())
    assert strictjson.compact(VECTORS[name]["manifest"]) == payload
    envelope.check_body(manifest, wire_of(name).body)


@pytest.mark.parametrize("name", ["request", "reply_delegated"])
def test_an_ed25519_envelope_is_made_byte_for_byte(name):
    stated = VECTORS[name]["manifest"]
    inputs = {key: value for key, value in stated.items() if key not in {"datahash", "datasize"}}
    assert envelope.sign(inputs, VECTORS[name]["body"].encode(), signer_of(SIGNED_BY[name])) == wire_of(name)


def test_an_es256_envelope_made_of_the_same_inputs_differs_in_the_signature_alone():
    stated = VECTORS["request_es256"]["manifest"]
    inputs = {key: value for key, value in stated.items() if key not in {"datahash", "datasize"}}
    again = envelope.sign(inputs, VECTORS["request_es256"]["body"].encode(), signer_of("sender es256"))
    assert again.compact.rpartition(b".")[0] == wire_of("request_es256").compact.rpartition(b".")[0]
    jws.verify(jws.parse(again.compact, typ=envelope.TYP), signer_of("sender es256").public)


@pytest.mark.parametrize("name", ["request", "reply_delegated"])
def test_the_structured_form_is_made_and_read_byte_for_byte(name):
    text = VECTORS[name]["structured"].encode()
    assert strictjson.compact(wire_of(name).structured()) == text
    assert wire_of(name).structured_text().encode() == text
    assert envelope.parse_structured(text) == wire_of(name)


@pytest.mark.parametrize(
    ("name", "held"),
    [
        ("request", ()),
        ("reply_delegated", (("bridge", "bridge"),)),
        ("request_es256", (("sender es256", "sender"),)),
    ],
)
def test_an_envelope_passes_the_first_ten_checks(name, held):
    found = admission.read(wire_of(name), made_directory(*held))
    assert isinstance(found, admission.Read), found
    assert found.env == VECTORS[name]["env"]
    assert found.exchange_key == (VECTORS[name]["manifest"]["source"], VECTORS[name]["manifest"]["id"])


def test_the_delegated_reply_names_the_request():
    found = admission.read(wire_of("reply_delegated"), made_directory(("bridge", "bridge")))
    asked = VECTORS["request"]["manifest"]
    assert isinstance(found, admission.Read)
    assert found.request_key == (asked["source"], asked["id"])
    assert found.key.owner == OWNERS["bridge"] != found.manifest.source


@each_statement
def test_a_statement_verifies_and_opens_to_its_item(name, typ, owner):
    found = statements.from_wire(VECTORS[name])
    signed = statements.verify_signature(found.jws, signer_of(owner).public, typ=typ)
    assert statements.kid_of(found.jws, typ=typ) == signed.kid == signer_of(owner).kid
    assert signed.iss == OWNERS[owner]
    assert strictjson.compact(statements.open_item(found, signed)).decode() == found.item
    assert found.wire() == VECTORS[name]
    assert statements.from_text(found.text()) == found


def test_the_accepted_receipt_is_one_of_three_and_its_signature_is_made_again():
    stated = VECTORS["receipt_accepted"]
    before, after = (base64url.decode(step) for step in stated["path"])
    root = merkle.node_hash(merkle.node_hash(before, leaf_hash(stated["item"].encode())), after)
    head = statements.receipt_head(
        gateway=OWNERS["gateway"], at=datetime.fromisoformat("2026-11-22T00:16:31.207Z"), log=LOG, policy=2
    )
    payload = strictjson.compact({**head, "size": 3, "root": "sha-256:" + base64url.encode(root)})
    assert jws.sign(payload, typ=statements.RECEIPT, signer=signer_of("gateway")).decode() == stated["jws"]


def test_the_rejected_receipt_is_a_batch_of_one_made_byte_for_byte():
    stated = VECTORS["receipt_rejected"]
    head = statements.receipt_head(
        gateway=OWNERS["gateway"], at=datetime.fromisoformat("2026-11-22T00:17:00Z"), log=LOG, policy=2
    )
    [made] = statements.sign_batch([stated["item"].encode()], head, typ=statements.RECEIPT, signer=signer_of("gateway"))
    assert made.wire() == stated


@pytest.mark.parametrize("name", ["receipt_accepted", "receipt_rejected"])
def test_a_receipt_names_entry_and_leaf(name):
    item = json.loads(VECTORS[name]["item"])
    entry = VECTORS["log"]["entries"][item["index"]].encode()
    assert item["leaf"] == "sha-256:" + base64url.encode(leaf_hash(entry))
    written = json.loads(entry)
    assert {name: written[name] for name in ("env", "id", "src", "aud")} == {
        name: item[name] for name in ("env", "id", "src", "aud")
    }
    assert written["ev"] == f"msg.{item['outcome']}"
    assert written.get("code") == item.get("code")


def test_the_ack_is_made_byte_for_byte():
    head = statements.ack_head(system=OWNERS["bridge"], at=datetime.fromisoformat("2026-11-22T00:16:31.305Z"))
    item = statements.ack_item(VECTORS["request"]["env"], "accepted")
    [made] = statements.sign_batch([item], head, typ=statements.ACK, signer=signer_of("bridge"))
    assert made.wire() == VECTORS["ack"]
    assert made.leaf == json.loads(VECTORS["log"]["entries"][5])["stmt"]


@pytest.mark.parametrize("position", [0, 1])
def test_a_directory_opens_and_its_statement_is_made_byte_for_byte(position):
    held = VECTORS["directory"][position]
    prev = jws.hash_of(VECTORS["directory"][0]["statement"].encode()) if position else ""
    made = statements.sign_directory(
        [record.encode() for record in held["records"]],
        signer=signer_of("registrar"),
        bus=OWNERS["registrar"],
        version=position + 1,
        prev=prev,
        at=opened(position).at,
    )
    assert made.decode() == held["statement"]
    assert opened(position).version == position + 1
    assert directory.previous_of(made) == prev


def test_every_record_of_the_directory_is_written_as_it_was_read():
    for held in VECTORS["directory"]:
        assert [records.parse(record.encode()).encoded().decode() for record in held["records"]] == held["records"]


def test_the_directory_lets_the_bridge_sign_for_the_national_service():
    found = opened(1)
    message_type = VECTORS["request"]["manifest"]["type"]
    assert found.may_sign_for(OWNERS["bridge"], OWNERS["receiver"], message_type)
    assert found.bridge_for(OWNERS["receiver"], message_type) == OWNERS["bridge"]
    assert found.hash == json.loads(VECTORS["log"]["entries"][1])["hash"]


def test_the_authorization_is_made_byte_for_byte_and_verifies():
    claims = VECTORS["auth"]["claims"]
    made = statements.sign_auth(
        signer=signer_of("sender"),
        iss=claims["iss"],
        aud=claims["aud"],
        method=claims["method"],
        path=claims["path"],
        body=b"",
        at=datetime.fromisoformat("2026-11-22T00:16:31Z"),
        jti=claims["jti"],
        life=timedelta(seconds=claims["exp"] - claims["iat"]),
    )
    assert made == VECTORS["auth"]["compact"]
    parsed = jws.parse(made.encode(), typ=statements.AUTH)
    jws.verify(parsed, signer_of("sender").public)
    assert strictjson.parse_object(parsed.payload) == claims


@pytest.mark.parametrize("text", VECTORS["log"]["entries"])
def test_an_entry_is_written_byte_for_byte(text):
    stated = json.loads(text)
    members = {
        "from_" if name == "from" else name: value
        for name, value in stated.items()
        if name not in {"v", "seq", "ts", "ev", "bus"}
    }
    reordered = dict(reversed(members.items()))
    made = entries.draft(stated["ev"], at=datetime.fromisoformat(stated["ts"]), bus=stated["bus"], **reordered)
    assert made.numbered(stated["seq"]).decode() == text


def test_the_entry_of_a_search_holds_the_hash_of_the_query():
    assert json.loads(VECTORS["log"]["entries"][8])["hash"] == jws.hash_of(VECTORS["audit_query"].encode())
    assert strictjson.compact({"env": VECTORS["request"]["env"]}).decode() == VECTORS["audit_query"]


def test_the_entries_of_messages_repeat_what_their_envelopes_say():
    by_env = {VECTORS[name]["env"]: VECTORS[name] for name in SIGNED_BY}
    for entry in map(json.loads, VECTORS["log"]["entries"]):
        if entry["ev"] in {"msg.accepted", "msg.rejected"}:
            manifest = by_env[entry["env"]]["manifest"]
            assert (entry["id"], entry["src"]) == (manifest["id"], manifest["source"])
            assert (entry["aud"], entry["type"]) == (manifest["audience"], manifest["type"])


JOSERFC_KEYS = {"Ed25519": OKPKey, "ES256": ECKey}


@pytest.mark.parametrize("owner", ["sender", "sender es256"])
def test_joserfc_verifies_what_we_sign(owner):
    signer = signer_of(owner)
    compact = jws.sign(b'{"any":"payload"}', typ=envelope.TYP, signer=signer)
    key = JOSERFC_KEYS[signer.alg].import_key(signer.public.jwk)
    found = joserfc_jws.deserialize_compact(compact, key, algorithms=[signer.alg])
    assert found.payload == b'{"any":"payload"}'
    assert found.headers() == {"alg": signer.alg, "kid": signer.kid, "typ": envelope.TYP}


@each_envelope
def test_joserfc_verifies_the_envelopes_of_the_vectors(name):
    public = signer_of(SIGNED_BY[name]).public
    key = JOSERFC_KEYS[public.alg].import_key(public.jwk)
    found = joserfc_jws.deserialize_compact(wire_of(name).compact, key, algorithms=[public.alg])
    assert strictjson.parse_object(found.payload) == VECTORS[name]["manifest"]


@pytest.mark.parametrize(("owner", "kind"), [("sender", OKPKey), ("sender es256", ECKey)])
def test_we_accept_what_joserfc_signs(owner, kind):
    signer = signer_of(owner)
    key = kind.import_key(signer.public.jwk | {"d": secret_of(signer)})
    header = {"alg": signer.alg, "kid": signer.kid, "typ": envelope.TYP}
    compact = joserfc_jws.serialize_compact(header, b"payload", key, algorithms=[signer.alg]).encode()
    parsed = jws.parse(compact, typ=envelope.TYP)
    jws.verify(parsed, signer.public)
    assert parsed.payload == b"payload"


def secret_of(signer: keys.PrivateKey) -> str:
    if isinstance(signer.handle, ec.EllipticCurvePrivateKey):
        return base64url.encode(signer.handle.private_numbers().private_value.to_bytes(32, "big"))
    return base64url.encode(signer.handle.private_bytes_raw())
