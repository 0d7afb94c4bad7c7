"""A directory file is worked into the next version of the directory, or refused with every problem named."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from lgsp import schemafiles
from lgsp.cli.directory.file import TEMPLATE, read_file
from lgsp.cli.keys.policy import read_policy
from lgsp.cli.keys.possession import prove
from lgsp.cli.registrar import draw_plan, members_changed, sign_plan
from lgsp.domain import keys, names, records
from lgsp.domain.directory import broken_links, empty_directory, open_directory, previous_of
from lgsp.domain.statements import sign_auth
from lgsp.errors import Refusal

BUS = "urn:lgsp:bus:91"
REGISTRAR = keys.ed25519_from_seed(b"registrar".ljust(32))
KEY, OTHER_KEY, THIRD_KEY = (keys.ed25519_from_seed(bytes([n]) * 32) for n in (1, 2, 3))
PROVINCE = Path(__file__).parents[2] / "adapters" / "province.toml"
SYSTEM = '[[agency]]\nid = "H01.99"\n[[system]]\nid = "H01.99/a"\n[[system]]\nid = "H01.99/b"\n'


class Desk:
    """A registrar with a folder for files, the directory in force and the documents that the bus holds."""

    def __init__(self, folder):
        self.folder = folder
        self.directory = empty_directory(BUS)
        self.held = {}

    def plan(self, text):
        path = self.folder / "directory.toml"
        path.write_text(text)
        return draw_plan(self.directory, read_file(path), self.held, read_policy())

    def apply(self, text):
        plan = self.plan(text)
        sealed = sign_plan(plan, REGISTRAR, datetime(2026, 11, 22, tzinfo=UTC))
        self.held |= sealed.documents
        self.directory = open_directory(sealed.statement, sealed.records, REGISTRAR.public, bus=BUS)
        return plan

    def refusal(self, text):
        with pytest.raises(Refusal) as caught:
            self.plan(text)
        return caught.value

    def record(self, kind, id_):
        return next(
            record for record in map(records.parse, self.directory.encoded) if (record.kind, record.id) == (kind, id_)
        )


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


def proof_of(key, owner, bus=BUS):
    return prove(key, owner=names.system_urn(owner), bus=bus, at=datetime(2026, 11, 22, tzinfo=UTC), jti="1")


def key_table(key=KEY, owner="H01.99/a", more="", proof=None):
    more = f'proof = "{proof_of(key, owner) if proof is None else proof}"\n{more}'
    return f'[[key]]\nowner = "{owner}"\nrole = "system"\njwk = {{kty="OKP", crv="Ed25519", x="{key.public.jwk["x"]}"}}\n{more}'


def test_the_demo_province_holds_together(desk):
    desk.apply(PROVINCE.read_text())
    assert desk.directory.version == 1
    assert broken_links(desk.directory, desk.held) == []
    assert "urn:lgsp:schema:common:personal-number:1.0.0" in desk.directory.schemas
    service = desk.directory.services["vn.lgsp.population.citizen.verify.v1"]
    assert (service.name, service.name_vi) != (None, None)
    grants = desk.directory.grants["urn:lgsp:agency:H01.12:sys:vnfishbase", "vn.lgsp.population.citizen.verify.v1"]
    assert [(grant.lane, grant.officers) for grant in grants] == [("bulk", ("7f3a91",))]


def test_short_names_are_written_out(desk):
    desk.apply(SYSTEM + key_table())
    assert "urn:lgsp:agency:H01.99" in desk.directory.agencies
    assert desk.directory.keys[KEY.kid].owner == "urn:lgsp:agency:H01.99:sys:a"


def test_an_agency_may_be_written_in_the_legacy_layout(desk):
    desk.apply('[[agency]]\nid = "000.00.12.H01"\n')
    assert list(desk.directory.agencies) == ["urn:lgsp:agency:H01.12"]


def test_applying_a_file_again_changes_nothing(desk):
    text = PROVINCE.read_text() + SYSTEM + key_table(more='until = "next"\n')
    desk.apply(text)
    assert desk.plan(text).changes == ()
    desk.apply('[[agency]]\nid = "H01.98"\n')
    assert desk.plan(text).changes == ()


def test_what_the_file_does_not_name_stays(desk):
    desk.apply(SYSTEM)
    desk.apply('[[agency]]\nid = "H01.98"\n')
    assert "urn:lgsp:agency:H01.99:sys:a" in desk.directory.systems
    assert desk.directory.version == 2


def test_each_statement_names_the_one_before(desk):
    desk.apply(SYSTEM)
    assert previous_of(desk.directory.statement) == ""
    before = desk.directory.hash
    desk.apply('[[agency]]\nid = "H01.98"\n')
    assert previous_of(desk.directory.statement) == before


def test_a_record_keeps_the_version_it_began_with(desk):
    desk.apply(SYSTEM + key_table())
    desk.apply(key_table(OTHER_KEY))
    desk.apply(key_table(more='until = "next"\n'))
    first, second = (desk.record("key", key.kid) for key in (KEY, OTHER_KEY))
    assert (first.since, first.until, second.since, second.until) == (1, 3, 2, None)
    assert desk.plan(key_table(more='until = "next"\n')).changes == ()


def test_a_removed_record_is_gone_and_removing_it_again_changes_nothing(desk):
    desk.apply(SYSTEM)
    remove = '[[remove]]\nkind = "system"\nid = "H01.99/b"\n'
    [change] = desk.apply(remove).changes
    assert (change.before.id, change.after) == ("urn:lgsp:agency:H01.99:sys:b", None)
    assert desk.plan(remove).changes == ()


def test_the_difference_names_the_members_that_change(desk):
    desk.apply(SYSTEM)
    [change] = desk.plan('[[system]]\nid = "H01.99/a"\nstatus = "suspended"\nname = "A"\n').changes
    assert sorted(members_changed(change)) == [("name", "", '"A"'), ("status", "", '"suspended"')]


@pytest.mark.parametrize("form", ["jwk", "pem", "p256"])
def test_a_key_may_stand_in_a_file_of_its_own(desk, form):
    key = keys.p256_from_scalar(99) if form == "p256" else KEY
    content = (
        json.dumps(key.public.jwk).encode()
        if form == "jwk"
        else key.public.handle.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    (desk.folder / "key").write_bytes(content)
    proof = f'proof = "{proof_of(key, "H01.99/a")}"\n'
    desk.apply(SYSTEM + '[[key]]\nowner = "H01.99/a"\nrole = "system"\nfile = "key"\n' + proof)
    assert desk.directory.keys[key.kid].public == key.public


def public_pem(handle):
    return handle.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


BAD_KEY_FILES = {
    "private": (KEY.handle.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), "key_refused"),
    "private JWK": (b'{"kty":"OKP","crv":"Ed25519","x":"AA","d":"AA"}', "key_refused"),
    "rsa": (public_pem(rsa.generate_private_key(65537, 2048)), "key_refused"),
    "another curve": (public_pem(ec.generate_private_key(ec.SECP384R1())), "key_refused"),
    "same size, another curve": (public_pem(ec.generate_private_key(ec.SECP256K1())), "key_refused"),
    "words": (b"hello", "key_file_broken"),
    "doubled name": (b'{"kty":"OKP","kty":"EC"}', "key_file_broken"),
    "low order": (b'{"kty":"OKP","crv":"Ed25519","x":"' + b"A" * 43 + b'"}', "key_refused"),
}


@pytest.mark.parametrize(("content", "code"), BAD_KEY_FILES.values(), ids=BAD_KEY_FILES.keys())
def test_a_key_file_that_holds_no_key_of_ours_is_refused(desk, content, code):
    (desk.folder / "key").write_bytes(content)
    assert desk.refusal(SYSTEM + '[[key]]\nowner = "H01.99/a"\nrole = "system"\nfile = "key"\n').code == code


REFUSED = {
    "no TOML": ("[[agency", "config_invalid", "directory.toml"),
    "unknown table": ('[[sytem]]\nid = "x"', "config_invalid", "did you mean [[system]]?"),
    "single table": ('[agency]\nid = "H01.99"', "config_invalid", "is written [[agency]]"),
    "removing nothing": ('[[remove]]\nkind = "grant"', "config_invalid", "[[remove]] has a kind"),
    "removing another kind": ('[[remove]]\nkind = "x"\nid = "y"', "config_invalid", "[[remove]] has a kind"),
    "unknown member": ('[[agency]]\nid = "H01.99"\nnmae = "x"', "directory_invalid", "nmae"),
    "no id": ('[[agency]]\nname = "x"', "directory_invalid", "id: Field required"),
    "twice": ('[[agency]]\nid = "H01.99"\n' * 2, "directory_invalid", "stands twice"),
    "no agency": ('[[system]]\nid = "H01.97/a"', "directory_invalid", "its agency is not registered"),
    "no owner": (key_table(), "directory_invalid", "its owner is not registered"),
    "no key": ('[[key]]\nowner = "H01.99/a"\nrole = "system"', "key_refused", "Ed25519 and P-256"),
    "foreign id": (key_table(more=f'id = "{"A" * 43}"'), "key_refused", "not the thumbprint"),
    "role of another": (
        SYSTEM + key_table().replace('role = "system"', 'role = "gateway"'),
        "directory_invalid",
        "a role that its owner cannot hold",
    ),
    "too many keys": (
        SYSTEM + key_table() + key_table(OTHER_KEY) + key_table(THIRD_KEY),
        "directory_invalid",
        "3 system keys would be valid at once, the policy allows 2",
    ),
    "no document": (
        '[[schema]]\nid = "urn:lgsp:schema:none:none:1.0.0"',
        "directory_invalid",
        "its document is missing",
    ),
    "no schema file": (
        '[[schema]]\nid = "urn:lgsp:schema:none:none:1.0.0"\nfile = "none.json"',
        "data_missing",
        "none.json",
    ),
    "no key file": ('[[key]]\nowner = "H01.99/a"\nrole = "system"\nfile = "none.jwk"', "data_missing", "none.jwk"),
    "wanted and removed": (
        SYSTEM + '[[remove]]\nkind = "system"\nid = "H01.99/a"',
        "directory_invalid",
        "is wanted and removed at once",
    ),
    "agency removed under its systems": (
        '[[system]]\nid = "H01.99/a"\n[[remove]]\nkind = "agency"\nid = "H01.99"',
        "directory_invalid",
        "its agency is not registered",
    ),
}


@pytest.mark.parametrize(("text", "code", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_a_file_that_cannot_be_applied_is_refused(desk, text, code, words):
    refusal = desk.refusal(text)
    assert refusal.code == code
    assert words in refusal.detail


def test_every_problem_of_a_file_is_named(desk):
    refusal = desk.refusal('[[agency]]\nid = "?"\n[[agency]]\nid = "H01.99"\nname = ""\n[[officer]]\nid = "x"\n')
    assert len(refusal.detail.splitlines()) == 3


UNPROVEN = {
    "none": "",
    "words": "trust me",
    "another key's": proof_of(OTHER_KEY, "H01.99/a"),
    "for another owner": proof_of(KEY, "H01.99/b"),
    "for another bus": proof_of(KEY, "H01.99/a", bus="urn:lgsp:bus:92"),
    "for a call": sign_auth(
        signer=KEY, iss="urn:lgsp:agency:H01.99:sys:a", aud=BUS, method="GET", path="/v1/inbox", body=b"",
        at=datetime(2026, 11, 22, tzinfo=UTC), jti="1",
    ).rstrip("\n"),
}  # fmt: skip


@pytest.mark.parametrize("proof", UNPROVEN.values(), ids=UNPROVEN.keys())
def test_a_key_is_registered_only_for_who_proves_to_hold_it(desk, proof):
    refusal = desk.refusal(SYSTEM + key_table(proof=proof))
    assert refusal.code == "key_refused"
    assert "no proof that urn:lgsp:agency:H01.99:sys:a holds it" in refusal.detail


def test_a_registered_key_is_ended_without_its_owner(desk):
    desk.apply(SYSTEM + key_table())
    desk.apply(key_table(more='until = "next"\n', proof=""))
    assert desk.record("key", KEY.kid).until == 2


def test_a_key_that_was_ended_never_holds_again(desk):
    desk.apply(SYSTEM + key_table())
    desk.apply(key_table(more='until = "next"\n'))
    refusal = desk.refusal(key_table())
    assert (refusal.code, "never holds again" in refusal.detail) == ("key_refused", True)
    assert desk.plan(key_table(more="until = 2\n")).changes == ()
    assert desk.refusal(key_table(more="until = 99\n")).code == "key_refused"


def test_a_key_never_changes_its_owner(desk):
    desk.apply(SYSTEM + key_table())
    assert "never to another" in desk.refusal(key_table(owner="H01.99/b")).detail


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (b"{", "not a JSON Schema"),
        (b'{"$id":"urn:lgsp:schema:x:y:1.0.0","type":7}', "not a JSON Schema"),
        (b'{"$id":"urn:lgsp:schema:x:y:2.0.0"}', "$id is another"),
        (b'{"$id":"urn:lgsp:schema:x:y:1.0.0","$ref":"urn:lgsp:schema:x:z:1.0.0"}', "not at hand"),
    ],
)
def test_a_schema_that_is_none_is_refused(desk, document, words):
    (desk.folder / "s.json").write_bytes(document)
    text = '[[schema]]\nid = "urn:lgsp:schema:x:y:1.0.0"\nfile = "s.json"'
    assert words in desk.refusal(text).detail


def test_a_published_schema_never_changes(desk):
    text = '[[schema]]\nid = "urn:lgsp:schema:x:y:1.0.0"\nfile = "s.json"'
    (desk.folder / "s.json").write_bytes(b'{"$id":"urn:lgsp:schema:x:y:1.0.0"}')
    desk.apply(text)
    (desk.folder / "s.json").write_bytes(b'{"$id":"urn:lgsp:schema:x:y:1.0.0" }')
    assert "never changes" in desk.refusal(text).detail


def test_schemas_that_a_schema_refers_to_come_along(desk):
    desk.apply('[[schema]]\nid = "urn:lgsp:schema:population:citizen-verify-request:1.0.0"\n')
    assert desk.directory.schemas.keys() == desk.held.keys()
    assert len(desk.held) > 1
    assert all(desk.held[urn] == schemafiles.read(urn) for urn in desk.held)


def test_the_template_can_be_applied_to_the_demo_province(desk):
    desk.apply(PROVINCE.read_text())
    proven = KEY.public.jwk | {"proof": proof_of(KEY, "H01.99/example")}
    (desk.folder / "key.jwk").write_text(json.dumps(proven))
    kinds = {change.name[0] for change in desk.apply(TEMPLATE).changes}
    assert kinds == {"agency", "system", "key", "grant"}
