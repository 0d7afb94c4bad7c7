"""What is fuzzed: every parser of bytes from outside, with what has to hold whatever the bytes are.

A target takes bytes and returns nothing. It refuses only by the codes or errors that are the parser's contract; what it takes comes back from what it
writes; and where the standard library reads the same, both read it alike. Any other exception is a finding.
"""

import json
import re
import tempfile
import tomllib
from base64 import urlsafe_b64decode
from functools import cache, partial
from pathlib import Path

from lgsp.cli.directory.file import KINDS, read_file
from lgsp.cli.keys.policy import read_policy
from lgsp.cli.registrar import draw_plan
from lgsp.domain import (
    checkpoint,
    contracts,
    envelope,
    evidence,
    jws,
    keys,
    names,
    notes,
    records,
    statements,
    strictjson,
    tiles,
)
from lgsp.domain.admission import Refused
from lgsp.domain.diagnosis import diagnose
from lgsp.domain.directory import empty_directory
from lgsp.domain.validation import Contract
from lgsp.errors import Refusal
from lgsp.http import frames
from lgsp.sdk import frames as client
from lgsp.sdk.manifest import AdapterManifest
from lgsp.testing.world import BUS, FISHERIES, LOG, NDXP, NOW, World, key_record, signer_named
from tests.fuzz import reference

REFUSED = object()
BASE64URL = re.compile(rb"[A-Za-z0-9_.-]*")
ES256 = keys.p256_from_scalar(9_110_026)
LOG_KEY = notes.NoteKey(name=LOG, kind=notes.LOG_KEY, public=signer_named("log").public.handle.public_bytes_raw())
SCHEMA = "urn:lgsp:schema:tests:fuzz:1.0.0"
BODIES = (None, True, 0, 1.5, "", "a1", [], [1, 1], {}, {"a": 1, "b": [{}]})
JWS_CODES = frozenset({"compact", "base64", "header_template", "typ"})
KEY_CODES = frozenset({"alg_mismatch", "signature"})


def taken(parse, data, *, codes=frozenset(), errors=()):
    """Return what a parser makes of the input, `REFUSED` where it refuses as it may; raise what it must never raise."""
    try:
        return parse(data)
    except Refusal as refusal:
        if refusal.code not in codes:
            raise AssertionError(f"refused as {refusal.code}") from refusal
    except errors:
        pass
    return REFUSED


@cache
def world():
    return World.make(added=[key_record(ES256, FISHERIES)], signers={"es256": ES256})


@cache
def signed_here():
    """Return what was signed with the keys that `compact_jws` tries: nothing else may pass for signed."""
    compacts = [world().envelope(signer=name).compact for name in ("fisheries", "es256")]
    return {compact.rpartition(b".")[0] for compact in compacts}


@cache
def folder():
    """Return a folder for the files that targets need, gone with the process."""
    return tempfile.TemporaryDirectory(prefix="lgsp-fuzz-")


def written(data, name):
    path = Path(folder().name) / name
    path.write_bytes(data)
    return path


def strict_json(data):
    value = taken(strictjson.parse, data, errors=strictjson.NotStrict)
    expected = taken(reference.read, data, errors=ValueError)
    assert repr(value) == repr(expected)
    if value is not REFUSED:
        again = strictjson.compact(value)
        assert repr(strictjson.parse(again)) == repr(value)
        assert strictjson.is_nfc(data, value) is (strictjson.first_not_nfc(value) is None)


def compact_jws(data):
    parsed = taken(partial(jws.parse, typ=envelope.TYP), data, codes=JWS_CODES)
    if parsed is REFUSED:
        return
    assert parsed.signing_input + b"." + data.rpartition(b".")[2] == data
    header, payload, signature = (urlsafe_b64decode(part + b"==") for part in data.split(b"."))
    assert json.loads(header) == {"alg": parsed.alg, "kid": parsed.kid, "typ": parsed.typ}
    assert (payload, signature) == (parsed.payload, parsed.signature)
    for name in ("fisheries", "es256"):
        if taken(partial(jws.verify, key=world().signers[name].public), parsed, codes=KEY_CODES) is not REFUSED:
            assert parsed.signing_input in signed_here()


def diagnosis(data):
    wire = envelope.Wire(compact=data, body=b"{}")
    read = world().read(wire)
    found = diagnose(wire, world().directory, read.refusal if isinstance(read, Refused) else None)
    assert strictjson.parse(strictjson.compact(found)) == found


def manifest(data):
    found = taken(envelope.parse_manifest, data, codes={"json", "manifest", "unsupported"})
    if found is REFUSED:
        return
    assert found.attributes == reference.read(data)
    assert envelope.parse_manifest(strictjson.compact(found.attributes)) == found
    assert names.is_audience(found.audience)
    assert names.is_system(found.source)
    for moment, name in ((found.recorded, "recordedtime"), (found.expires, "expirytime")):
        assert found.attributes[name] in {
            envelope.format_time(moment),
            envelope.format_time(moment).replace(".000Z", "Z"),
        }


def structured(data):
    wire = taken(envelope.parse_structured, data, codes={"structured"})
    if wire is not REFUSED:
        assert envelope.parse_structured(strictjson.compact(wire.structured())) == wire
        assert wire.structured() == json.loads(data)
    if wire is not REFUSED and BASE64URL.fullmatch(
        wire.compact
    ):  # what is handed over was proven, and is written without escapes
        assert json.loads(wire.structured_text()) == wire.structured()


def gateway_frames(data):
    found = taken(partial(frames.parse, grouped=True), data, codes={"bad_request"})
    for frame in () if found is REFUSED else found:
        gateway_frame(frame)


def gateway_frame(frame):
    assert len(json.loads(f"{{{frames.about(frame)}}}")) == 1
    for read in (frames.read_credit, frames.read_nack, frames.read_extension, frames.read_sighting):
        taken(read, frame, codes={"bad_request"})
    ref = taken(frames.read_ref, frame, codes={"bad_request"})
    if ref is not REFUSED:
        assert json.loads(frames.receipt(ref, "{}"))["ref"] == frame["ref"]
    ack = taken(frames.read_ack, frame.get("ack"), codes={"ack_invalid"})
    assert ack is REFUSED or ack.wire() == frame["ack"]
    wire = taken(envelope.from_structured, frame.get("envelope"), codes={"structured"})
    assert wire is REFUSED or wire.structured() == frame["envelope"]


def client_frames(data):
    found = taken(partial(client.parse, grouped=True), data, errors=client.BadFrame)
    for frame in () if found is REFUSED else found:
        client_frame(frame)


def client_frame(frame):
    handed = taken(client.handed, frame, errors=client.BadFrame)
    assert handed is REFUSED or handed.wire.structured() == frame["envelope"]
    for read in (client.welcome, client.became, client.problem, client.may_repeat_ack):
        taken(read, frame, errors=client.BadFrame)
    assert 0 <= client.seconds(frame, "retry_after", most=60) <= 60


@cache
def batch():
    items = [statements.ack_item(jws.hash_of(b"%d" % number), "accepted") for number in range(5)]
    signer = signer_named("ndxp")
    made = statements.sign_batch(items, statements.ack_head(system=NDXP, at=NOW), typ=statements.ACK, signer=signer)
    return {each.item for each in made}, statements.verify_signature(made[0].jws, signer.public, typ=statements.ACK)


def statement(data):
    found = taken(statements.from_text, data, errors=ValueError)
    if found is REFUSED:
        return
    assert statements.from_text(found.text()) == found
    items, signed = batch()
    opened = taken(partial(statements.open_item, signed=signed), found, codes={"base64", "signature"})
    assert opened is REFUSED or found.item in items
    verify = partial(statements.verify_signature, key=signer_named("ndxp").public, typ=statements.ACK)
    proven = taken(verify, found.jws, codes=JWS_CODES | KEY_CODES)
    assert proven is REFUSED or proven == signed
    taken(statements.policy_of, found.jws, codes={"receipt_invalid"})


def note(data):
    text = data.decode("utf-8", "surrogateescape")
    invalid = notes.NoteInvalid
    key = taken(notes.parse_vkey, text, errors=invalid)
    assert key is REFUSED or notes.format_vkey(key) == text
    head = taken(checkpoint.parse_checkpoint, text, errors=invalid)
    assert head is REFUSED or checkpoint.checkpoint_body(head) == text
    proof = taken(checkpoint.parse_proof, text, errors=invalid)
    assert proof is REFUSED or checkpoint.format_proof(proof.index, proof.path, proof.checkpoint, proof.extra) == text
    taken(partial(notes.is_named_in, LOG_KEY), text, errors=invalid)
    taken(checkpoint.stated_size, text, errors=invalid)
    opened = taken(partial(checkpoint.open_checkpoint, log_key=LOG_KEY), text, errors=invalid)
    assert opened is REFUSED or opened.origin == LOG


def record(data):
    found = taken(records.parse, data, codes={"directory_invalid"})
    if found is REFUSED:
        return
    assert records.parse(found.encoded()) == found
    if isinstance(found, records.KeyRecord):
        public = taken(keys.public_key, found.jwk, codes={"key_refused"})
        assert public is REFUSED or keys.public_key(public.jwk) == public


def directory_file(data):
    if points_elsewhere(data):
        return
    path = written(data, "directory.toml")
    wanted = taken(
        read_file, path, codes={"data_missing", "config_invalid", "key_file_broken", "key_refused", "bad_request"}
    )
    if wanted is REFUSED:
        return
    codes = {"directory_invalid", "config_invalid", "key_refused", "bad_request"}
    plan = taken(lambda wanted: draw_plan(empty_directory(BUS), wanted, {}, read_policy()), wanted, codes=codes)
    assert plan is REFUSED or all(records.parse(each).encoded() == each for each in plan.records)


def points_elsewhere(data):
    """Tell whether a directory file names files outside its folder, which a fuzzer must not read."""
    try:
        tables = tomllib.loads(data.decode())
    except (ValueError, RecursionError):
        return False
    rows = [row for kind in KINDS for row in [tables.get(kind)] for row in (row if isinstance(row, list) else [row])]
    return any(isinstance(row, dict) and "/" in str(row.get("file", "")) for row in rows)


def adapter_manifest(data):
    taken(AdapterManifest.load, written(data, "adapter.toml"), codes={"adapter_invalid"})


def bundle(data):
    found = taken(evidence.parse, data, errors=ValueError)
    assert found is REFUSED or evidence.parse(evidence.encode(found)) == found


def schema_document(data):
    held = taken(lambda data: contracts.check_document(SCHEMA, data, {}), data, codes={"directory_invalid"})
    if held is REFUSED:
        return
    contract = Contract(SCHEMA, {SCHEMA: strictjson.parse_object(data)})
    for body in BODIES:
        found = taken(contract.check, body, codes={"schema"})
        assert (found is not REFUSED) is contract.takes(body)


def name(data):
    text = data.decode("utf-8", "surrogateescape")
    for read in (names.system_urn, names.officer_urn):
        urn = taken(read, text, codes={"bad_request"})
        assert urn is REFUSED or read(urn) == urn
    code = taken(names.agency_code, text, codes={"bad_request"})
    legacy = REFUSED if code is REFUSED else taken(names.legacy_agency_code, code, codes={"bad_request"})
    assert legacy is REFUSED or names.agency_code(legacy) == code
    tile = taken(tiles.read_number, text, errors=ValueError)
    assert tile is REFUSED or tiles.number_path(*tile) == text
    moment = taken(envelope.parse_time, text, errors=ValueError)
    assert moment is REFUSED or envelope.parse_time(envelope.format_time(moment)) == moment


TARGETS = {
    target.__name__: target
    for target in (
        strict_json, compact_jws, diagnosis, manifest, structured, gateway_frames, client_frames, statement, note, record, directory_file, adapter_manifest,
        bundle, schema_document, name,
    )
}  # fmt: skip
