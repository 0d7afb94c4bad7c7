"""Signed notes, checkpoints, cosignatures and inclusion proofs, opened strictly."""

from base64 import b64encode
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lgsp.domain.checkpoint import (
    Checkpoint,
    checkpoint_body,
    format_proof,
    open_checkpoint,
    parse_checkpoint,
    parse_proof,
    stated_size,
    verify_proof,
)
from lgsp.domain.merkle import EMPTY_ROOT, inclusion_path, leaf_hash, root
from lgsp.domain.notes import (
    LOG_KEY,
    WITNESS_KEY,
    NoteInvalid,
    NoteKey,
    cosign_note,
    cosignature_message,
    format_signature,
    format_vkey,
    is_named_in,
    open_note,
    parse_vkey,
    sign_note,
)

ORIGIN = "lgsp.example.vn/91/2026"
WITNESS = "ndxp.example.vn/witness/1"
TIME = 1_795_306_591


def make_signer(label: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(sha256(label.encode()).digest())


def make_key(name: str, kind: int, signer: Ed25519PrivateKey) -> NoteKey:
    return NoteKey(name=name, kind=kind, public=signer.public_key().public_bytes_raw())


LOG_SIGNER = make_signer("log of the checkpoint tests")
WITNESS_SIGNER = make_signer("witness of the checkpoint tests")
LOG = make_key(ORIGIN, LOG_KEY, LOG_SIGNER)
WITNESS_1 = make_key(WITNESS, WITNESS_KEY, WITNESS_SIGNER)
STRANGER = make_key("else.example", LOG_KEY, make_signer("stranger"))

ENTRIES = [b'{"v":1,"seq":%d}' % seq for seq in range(5)]
HASHES = [leaf_hash(entry) for entry in ENTRIES]
HEAD = Checkpoint(origin=ORIGIN, size=5, root=root(HASHES))
BODY = checkpoint_body(HEAD)
SIGNED = sign_note(BODY, ORIGIN, LOG_SIGNER.sign, LOG.public)
COSIGNED = SIGNED + cosign_note(BODY, WITNESS, WITNESS_SIGNER.sign, WITNESS_1.public, TIME)
PROOF = format_proof(3, inclusion_path(HASHES, 3), COSIGNED)


def sign_body(body: str) -> str:
    """Sign any text as the log would, without asking whether the text is allowed."""
    return f"{body}\n{format_signature(LOG, LOG_SIGNER.sign(body.encode('utf-8', 'surrogatepass')))}"


# --- keys -------------------------------------------------------------------------------------------------------


def test_a_key_survives_its_text_form():
    for key in (LOG, WITNESS_1):
        assert parse_vkey(format_vkey(key)) == key


def test_the_key_of_the_format_s_own_example_has_the_id_on_its_signature_line():
    # The example key of the Go note package, which wrote the format first.
    key = parse_vkey("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    assert key.key_id.hex() == "c74f20a3"
    text = (
        "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
        "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
    )
    assert open_note(text, [key]).is_signed_by(key)


def test_the_same_public_key_under_another_name_or_kind_has_another_id():
    other_name = NoteKey(name=WITNESS, kind=LOG_KEY, public=LOG.public)
    other_kind = NoteKey(name=ORIGIN, kind=WITNESS_KEY, public=LOG.public)
    assert len({LOG.key_id, other_name.key_id, other_kind.key_id}) == 3


VKEY = format_vkey(LOG)
VKEY_HASH, VKEY_DATA = VKEY.split("+", 2)[1:]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "nothing"),
        (f"{ORIGIN}+{VKEY_HASH}", "no key"),
        (f"+{VKEY_HASH}+{VKEY_DATA}", "no name"),
        (f"a name+{VKEY_HASH}+{VKEY_DATA}", "space in the name"),
        (f"{ORIGIN}+{VKEY_HASH.upper()}A+{VKEY_DATA}", "hash too long"),
        (f"{ORIGIN}+00000000+{VKEY_DATA}", "hash of another key"),
        (f"else.example+{VKEY_HASH}+{VKEY_DATA}", "name of another key"),
        (f"{VKEY}\n", "newline at the end"),
        (VKEY.rstrip("=") + "A", "another key"),
        (f"{ORIGIN}+{VKEY_HASH}+====", "no base64"),
        (f"{ORIGIN}+{VKEY_HASH}+AQ==", "key without bytes"),
        (f"{ORIGIN}+{VKEY_HASH}+{b64encode(bytes([2]) + LOG.public).decode()}", "ECDSA"),
        (f"{ORIGIN}+{VKEY_HASH}+{b64encode(bytes([1]) + LOG.public + b'!').decode()}", "33 bytes"),
    ],
)
def test_a_key_text_is_read_strictly(text: str, why: str):
    with pytest.raises(NoteInvalid):
        assert parse_vkey(text) is None, why


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\u00a0b", "a\u3000b", "a\x7f", "\ud800"])
def test_a_key_name_has_no_space_plus_or_control_character(name: str):
    with pytest.raises(NoteInvalid, match="key name"):
        NoteKey(name=name, kind=LOG_KEY, public=LOG.public)


# --- notes ------------------------------------------------------------------------------------------------------


def test_a_signed_note_opens_with_its_key():
    note = open_note(SIGNED, [LOG])
    assert note.body == BODY
    assert note.is_signed_by(LOG)
    assert not note.is_signed_by(WITNESS_1)


def test_a_cosignature_carries_its_time():
    note = open_note(COSIGNED, [LOG, WITNESS_1])
    assert [(signature.key, signature.time) for signature in note.signatures] == [
        (LOG, None),
        (WITNESS_1, TIME),
    ]


def test_a_witness_signs_header_time_and_the_whole_body():
    assert cosignature_message(BODY, TIME) == f"cosignature/v1\ntime {TIME}\n{BODY}".encode()


@pytest.mark.parametrize("time", [-1, 2**63, 2**64])
def test_a_time_outside_the_format_is_refused(time: int):
    with pytest.raises(NoteInvalid, match="out of range"):
        cosign_note(BODY, WITNESS, WITNESS_SIGNER.sign, WITNESS_1.public, time)


def test_a_time_outside_the_format_is_refused_on_reading_too():
    line = format_signature(WITNESS_1, b"\xff" * 8 + WITNESS_SIGNER.sign(BODY.encode()))
    with pytest.raises(NoteInvalid, match="out of range"):
        open_note(SIGNED + line, [LOG, WITNESS_1])


def test_a_plain_signature_of_the_witness_is_no_cosignature():
    line = format_signature(WITNESS_1, WITNESS_SIGNER.sign(BODY.encode()))
    with pytest.raises(NoteInvalid):
        open_note(SIGNED + line, [LOG, WITNESS_1])


def test_signatures_of_unknown_keys_are_ignored():
    line = format_signature(STRANGER, b"not even sixty-four bytes")
    assert open_note(SIGNED + line, [LOG]).is_signed_by(LOG)
    assert len(open_note(COSIGNED, [LOG]).signatures) == 1


def test_a_known_name_with_another_id_is_an_unknown_key():
    replaced = make_key(ORIGIN, LOG_KEY, make_signer("an older key of the log"))
    old_line = format_signature(replaced, bytes(64))
    assert open_note(SIGNED + old_line, [LOG]).is_signed_by(LOG)


def test_a_known_key_with_a_wrong_signature_spoils_the_note():
    wrong = format_signature(WITNESS_1, bytes(72))
    with pytest.raises(NoteInvalid, match="signature of a known key is wrong"):
        open_note(SIGNED + wrong, [LOG, WITNESS_1])


def test_a_key_that_signs_twice_spoils_the_note():
    line = SIGNED.rpartition("\n\n")[2]
    with pytest.raises(NoteInvalid, match="twice"):
        open_note(SIGNED + line, [LOG])


def test_a_note_without_a_known_signer_is_refused():
    for keys in ([], [STRANGER]):
        with pytest.raises(NoteInvalid, match="no known key"):
            open_note(SIGNED, keys)


def test_the_text_may_hold_empty_lines_of_its_own():
    body = "first\n\nsecond\n"
    note = sign_note(body, ORIGIN, LOG_SIGNER.sign, LOG.public)
    assert open_note(note, [LOG]).body == body


def test_a_note_with_sixteen_signatures_is_accepted():
    unknown = [make_key(f"witness.example/{number}", WITNESS_KEY, STRANGER_SIGNER) for number in range(15)]
    note = SIGNED + "".join(format_signature(key, bytes(5000)) for key in unknown)
    assert open_note(note, [LOG]).is_signed_by(LOG)


STRANGER_SIGNER = make_signer("stranger")
LINE = SIGNED.rpartition("\n\n")[2]
_, _, SIGNATURE = LINE.rstrip("\n").split(" ")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "nothing"),
        ("\n", "newline only"),
        ("\n\n", "no text"),
        (f"\n\n{LINE}", "no text before the empty line"),
        (BODY, "no signatures"),
        (f"{BODY}\n", "no signature lines"),
        (f"{BODY}{LINE}", "no empty line"),
        (SIGNED[:-1], "no newline at the end"),
        (f"{SIGNED}\n", "an empty line at the end"),
        (f"{SIGNED}comment\n", "something else among the signatures"),
        (f"{SIGNED}— \n", "a dash alone"),
        (f"{SIGNED}— else.example\n", "no signature on a line"),
        (f"{SIGNED}— else.example AAAAAA==\n", "no more than a key id"),
        (f"{SIGNED}— else.example AAAAAAA\n", "no padding"),
        (f"{SIGNED}— else.example AAAAAAF=\n", "set tail bits"),
        (f"{SIGNED}— else.example AAAA_A-=\n", "the other alphabet"),
        (f"{SIGNED}— else+example AAAAAAA=\n", "plus in the name"),
        (f"{SIGNED}—  AAAAAAA=\n", "empty name"),
        (f"{SIGNED}— else.example AAAAAAA= x\n", "a fourth word"),
        (f"{SIGNED}— else.example\u00a0AAAAAAA=\n", "another space"),
        (SIGNED.replace("—", "-"), "hyphen"),
        (SIGNED.replace("—", "–"), "en dash"),
        (SIGNED.replace("— ", "—"), "no space"),
        (SIGNED.replace("— ", "—  "), "two spaces"),
        (SIGNED.replace("\n", "\r\n"), "Windows line ends"),
        (f"{BODY}\n— {ORIGIN} {SIGNATURE}\x00\n", "zero byte"),
        (f"\ufeff{SIGNED}", "byte order mark"),
        (sign_body("tab\there\n"), "tab in the text"),
        (sign_body("return\rhere\n"), "return in the text"),
        (sign_body("lone \ud800 surrogate\n"), "no UTF-8"),
        (SIGNED + "— else.example AAAAAAA=\n" * 6000, "too long"),
    ],
)
def test_a_note_is_read_strictly(text: str, why: str):
    with pytest.raises(NoteInvalid):
        assert open_note(text, [LOG]) is None, why


@pytest.mark.parametrize("body", ["", "no newline", "tab\t\n", "\ud800\n"])
def test_a_text_that_could_not_be_read_again_is_not_signed(body: str):
    with pytest.raises(NoteInvalid):
        sign_note(body, ORIGIN, LOG_SIGNER.sign, LOG.public)


def test_every_altered_byte_of_a_note_is_noticed():
    for position in range(len(COSIGNED)):
        altered = COSIGNED[:position] + ("B" if COSIGNED[position] != "B" else "C") + COSIGNED[position + 1 :]
        with pytest.raises(NoteInvalid):
            open_checkpoint(altered, LOG, [WITNESS_1])


# --- checkpoints ------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_three_lines_and_survives_them():
    assert checkpoint_body(HEAD) == f"{ORIGIN}\n5\n{b64encode(HEAD.root).decode()}\n"
    assert parse_checkpoint(BODY) == HEAD


def test_an_empty_log_has_a_checkpoint():
    empty = Checkpoint(origin=ORIGIN, size=0, root=EMPTY_ROOT)
    assert parse_checkpoint(checkpoint_body(empty)) == empty


ROOT = b64encode(HEAD.root).decode()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("", "nothing"),
        (f"{ORIGIN}\n5\n", "no root"),
        (f"{ORIGIN}\n5\n{ROOT}", "no newline at the end"),
        (f"{ORIGIN}\n5\n{ROOT}\nextension\n", "extension line"),
        (f"{ORIGIN}\n5\n{ROOT}\n\n", "empty line"),
        (f"\n5\n{ROOT}\n", "no origin"),
        (f"{ORIGIN}\n\n{ROOT}\n", "no size"),
        (f"{ORIGIN}\n05\n{ROOT}\n", "leading zero"),
        (f"{ORIGIN}\n+5\n{ROOT}\n", "sign"),
        (f"{ORIGIN}\n-5\n{ROOT}\n", "negative"),
        (f"{ORIGIN}\n 5\n{ROOT}\n", "space"),
        (f"{ORIGIN}\n5_0\n{ROOT}\n", "underscore"),
        (f"{ORIGIN}\n٥\n{ROOT}\n", "digit of another script"),
        (f"{ORIGIN}\n0x5\n{ROOT}\n", "hexadecimal"),
        (f"{ORIGIN}\n9223372036854775808\n{ROOT}\n", "2^63"),
        (f"{ORIGIN}\n{'9' * 5000}\n{ROOT}\n", "very many digits"),
        (f"{ORIGIN}\n0\n{ROOT}\n", "empty log with a root"),
        (f"{ORIGIN}\n5\n{ROOT[:-1]}\n", "no padding"),
        (f"{ORIGIN}\n5\n{ROOT[:-4]}\n", "root too short"),
        (f"{ORIGIN}\n5\nAAAA{ROOT}\n", "root too long"),
        (f"{ORIGIN}\n5\n{ROOT} \n", "space after the root"),
        (f"{ORIGIN}\n5\nÀ{ROOT[1:]}\n", "letter outside ASCII"),
    ],
)
def test_a_checkpoint_is_read_strictly(body: str, why: str):
    with pytest.raises(NoteInvalid):
        assert parse_checkpoint(body) is None, why


def test_a_checkpoint_opens_with_log_and_witness():
    assert open_checkpoint(SIGNED, LOG) == HEAD
    assert open_checkpoint(COSIGNED, LOG, [WITNESS_1]) == HEAD


def test_each_demanded_witness_has_to_cosign():
    second = make_key("ndxp.example.vn/witness/2", WITNESS_KEY, make_signer("second witness"))
    for text, witnesses in ((SIGNED, [WITNESS_1]), (COSIGNED, [WITNESS_1, second])):
        with pytest.raises(NoteInvalid, match="has not signed"):
            open_checkpoint(text, LOG, witnesses)


def test_a_witness_alone_does_not_make_a_checkpoint():
    text = f"{BODY}\n{cosign_note(BODY, WITNESS, WITNESS_SIGNER.sign, WITNESS_1.public, TIME)}"
    with pytest.raises(NoteInvalid, match="has not signed"):
        open_checkpoint(text, LOG, [WITNESS_1])


def test_a_log_cannot_speak_for_another_log():
    body = checkpoint_body(Checkpoint(origin="lgsp.example.vn/89/2026", size=5, root=HEAD.root))
    text = sign_note(body, ORIGIN, LOG_SIGNER.sign, LOG.public)
    with pytest.raises(NoteInvalid, match="another log"):
        open_checkpoint(text, LOG)


def test_a_key_of_the_other_kind_is_refused():
    with pytest.raises(NoteInvalid, match="other kind"):
        open_checkpoint(COSIGNED, WITNESS_1)
    with pytest.raises(NoteInvalid, match="other kind"):
        open_checkpoint(COSIGNED, LOG, [LOG])


@pytest.mark.parametrize(
    ("origin", "size", "top"),
    [
        ("", 5, HEAD.root),
        (ORIGIN, -1, HEAD.root),
        (ORIGIN, 2**63, HEAD.root),
        (ORIGIN, 5, b"short"),
        (ORIGIN, 0, HEAD.root),
    ],
)
def test_a_checkpoint_that_cannot_be_is_not_made(origin: str, size: int, top: bytes):
    with pytest.raises(NoteInvalid):
        Checkpoint(origin=origin, size=size, root=top)


# --- proofs -----------------------------------------------------------------------------------------------------


def test_every_entry_is_proven_by_its_exact_bytes():
    for index, entry in enumerate(ENTRIES):
        proof = format_proof(index, inclusion_path(HASHES, index), COSIGNED)
        assert verify_proof(proof, entry, LOG, [WITNESS_1]) == HEAD
        assert parse_proof(proof).index == index


def test_a_proof_of_the_only_entry_has_no_hashes():
    head = Checkpoint(origin=ORIGIN, size=1, root=HASHES[0])
    note = sign_note(checkpoint_body(head), ORIGIN, LOG_SIGNER.sign, LOG.public)
    assert verify_proof(format_proof(0, [], note), ENTRIES[0], LOG) == head


def test_extra_data_travels_along_unverified():
    proof = format_proof(3, inclusion_path(HASHES, 3), COSIGNED, extra=b"a note for the reader")
    assert proof.split("\n")[1].startswith("extra ")
    assert parse_proof(proof).extra == b"a note for the reader"
    assert verify_proof(proof, ENTRIES[3], LOG) == HEAD
    assert parse_proof(PROOF).extra is None


def test_another_entry_is_not_proven():
    for entry in (ENTRIES[2], ENTRIES[3] + b" ", b"", HASHES[3]):
        with pytest.raises(NoteInvalid, match="not in the log at this index"):
            verify_proof(PROOF, entry, LOG)


def test_a_proof_holds_only_with_the_demanded_witness():
    bare = format_proof(3, inclusion_path(HASHES, 3), SIGNED)
    assert verify_proof(bare, ENTRIES[3], LOG) == HEAD
    with pytest.raises(NoteInvalid, match="has not signed"):
        verify_proof(bare, ENTRIES[3], LOG, [WITNESS_1])


def test_every_altered_byte_of_a_proof_is_noticed():
    for position in range(len(PROOF)):
        altered = PROOF[:position] + ("7" if PROOF[position] != "7" else "8") + PROOF[position + 1 :]
        with pytest.raises(NoteInvalid):
            verify_proof(altered, ENTRIES[3], LOG, [WITNESS_1])


PATH = inclusion_path(HASHES, 3)
HASH_LINES = "".join(f"{b64encode(node).decode()}\n" for node in PATH)
FIRST, REST = HASH_LINES.split("\n", 1)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "nothing"),
        (COSIGNED, "a checkpoint alone"),
        (PROOF.replace("@v1", "@v2"), "another version"),
        (PROOF.replace("index 3\n", ""), "no index"),
        (PROOF.replace("index 3", "index 03"), "leading zero"),
        (PROOF.replace("index 3", "index -3"), "negative"),
        (PROOF.replace("index 3", "index  3"), "two spaces"),
        (PROOF.replace("index 3", "Index 3"), "capital"),
        (PROOF.replace("index 3", "index 2"), "another index"),
        (PROOF.replace("index 3", "index 5"), "outside the log"),
        (PROOF.replace("index 3\n", "index 3\nindex 3\n"), "two indexes"),
        (PROOF.replace("index 3\n", "index 3\nextra AAAA\n"), "extra after the index"),
        (PROOF.replace("index 3\n", "extra \nindex 3\n"), "extra without data"),
        (PROOF.replace("index 3\n", "extra AAA\nindex 3\n"), "extra that is no base64"),
        (PROOF.replace("index 3\n", "extra AAAA\nextra AAAA\nindex 3\n"), "two extras"),
        (PROOF.replace(HASH_LINES, REST), "a hash left out"),
        (PROOF.replace(HASH_LINES, f"{HASH_LINES}{FIRST}\n"), "a hash too many"),
        (
            PROOF.replace(HASH_LINES, f"{HASH_LINES}{FIRST}\n" + f"{FIRST}\n" * 70),
            "more hashes than any tree needs",
        ),
        (PROOF.replace(HASH_LINES, f"{REST}{FIRST}\n"), "hashes in another order"),
        (PROOF.replace(FIRST, FIRST[:-4]), "a hash too short"),
        (PROOF.replace(FIRST, f" {FIRST}"), "space before a hash"),
        (PROOF.replace(f"\n\n{ORIGIN}", f"\n{ORIGIN}"), "no empty line before the checkpoint"),
        (PROOF.replace(f"\n\n{ORIGIN}", f"\n\n\n{ORIGIN}"), "two empty lines before the checkpoint"),
        (PROOF.partition("\n\n")[0], "no checkpoint"),
        (PROOF.replace("\n", "\r\n"), "Windows line ends"),
        (f" {PROOF}", "space at the start"),
        (f"{PROOF}\n", "empty line at the end"),
    ],
)
def test_a_proof_is_read_strictly(text: str, why: str):
    with pytest.raises(NoteInvalid):
        assert verify_proof(text, ENTRIES[3], LOG, [WITNESS_1]) is None, why


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (PROOF.replace("index 3", "index 9223372036854775808"), "2^63"),
        (PROOF.replace(HASH_LINES, f"{FIRST}\n" * 64), "64 hashes"),
        (PROOF.replace(FIRST, FIRST[:-4]), "a hash too short"),
        (PROOF.replace(FIRST, f"AAAA{FIRST}"), "a hash too long"),
        (PROOF.partition("\n\n")[0], "no checkpoint"),
    ],
)
def test_the_parts_of_a_proof_are_bounded_before_anything_is_verified(text: str, why: str):
    with pytest.raises(NoteInvalid):
        assert parse_proof(text) is None, why


def test_a_path_of_the_longest_tree_is_read():
    assert len(parse_proof(PROOF.replace(HASH_LINES, f"{FIRST}\n" * 63)).path) == 63


def test_refusals_never_repeat_what_they_refuse():
    for action in (
        lambda: open_note("secret\n\nsecret\n", [LOG]),
        lambda: parse_vkey("secret"),
        lambda: parse_proof("secret"),
    ):
        with pytest.raises(NoteInvalid) as refusal:
            action()
        assert "secret" not in str(refusal.value)
        assert refusal.value.__cause__ is None


def test_the_size_that_a_checkpoint_states_is_read_without_any_key():
    assert stated_size(COSIGNED) == stated_size(SIGNED) == 5
    with pytest.raises(NoteInvalid):
        stated_size("evidence")


def test_a_witness_is_named_by_its_line_right_or_wrong():
    head, _, line = COSIGNED.rpartition("\n— ")
    wrong = f"{head}\n— {line[:-6]}{'AAAA' if line[-6:-2] != 'AAAA' else 'BBBB'}{line[-2:]}"
    assert is_named_in(WITNESS_1, COSIGNED)
    assert is_named_in(LOG, SIGNED)
    assert not is_named_in(WITNESS_1, SIGNED)
    assert not is_named_in(make_key(WITNESS, WITNESS_KEY, LOG_SIGNER), COSIGNED)
    with pytest.raises(NoteInvalid):
        open_note(wrong, [WITNESS_1])
    assert is_named_in(WITNESS_1, wrong)
    with pytest.raises(NoteInvalid):
        is_named_in(WITNESS_1, "evidence")
