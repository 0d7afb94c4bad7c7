from collections.abc import Mapping

import pytest

from adapters.ndxp import mapping, soap
from adapters.ndxp.mock.comparison import folded, same_birth
from adapters.ndxp.mock.registry import Entry
from adapters.ndxp.mock.service import Declined, Rules, answered, fault

NAME = "NGUYỄN THỊ NGỌC ÁNH"
LIVING, DEAD, TWINS = "099165000123", "099165000456", "990000123"
ENTRY = Entry(name="NGUYENTHINGOCANH", birth="1965-05-12", deceased=False)
REGISTRY: Mapping[str, tuple[Entry, ...]] = {
    LIVING: (ENTRY,),
    DEAD: (Entry(name=ENTRY.name, birth="1965", deceased=True),),
    TWINS: (ENTRY, Entry(name="DANHSARUOL", birth="1958", deceased=False)),
}
ASKER = mapping.Asker(request_id="7", procedure="1.001612.000.00.00.H01", officer="cb-01", unit="H01.12")
RULES = Rules(procedures=frozenset({ASKER.procedure}), officers=frozenset({ASKER.officer}))


def ask(body: Mapping[str, str], asker: mapping.Asker = ASKER, rules: Rules = RULES) -> object:
    return mapping.answer(answered(mapping.question(body, asker), REGISTRY, rules))


def body(number: str, name: str = NAME, birth: str = "1965-05-12") -> dict[str, str]:
    member = "personalNumber" if len(number) == 12 else "oldNumber"
    return {member: number, "fullName": name, "birthDate": birth}


@pytest.mark.parametrize(
    ("asked", "reply"),
    [
        (body(LIVING), {"result": "match"}),
        (body(LIVING, name="NGUYEN THI NGOC ANH"), {"result": "match"}),
        (body(LIVING, birth="1965"), {"result": "match"}),
        (body(LIVING, birth="1965-05"), {"result": "match"}),
        (body(LIVING, birth="1965-06"), {"result": "mismatch", "fields": ["birthDate"]}),
        (body(LIVING, name="NGUYỄN THỊ ÁNH"), {"result": "mismatch", "fields": ["fullName"]}),
        (body(LIVING, name="X", birth="1966"), {"result": "mismatch", "fields": ["fullName", "birthDate"]}),
        (body(DEAD, birth="1965-01-01"), {"result": "deceased"}),
        (body(DEAD, name="DANH SÀ RƯƠL"), {"result": "mismatch", "fields": ["fullName"]}),
        (body("099165999999"), {"result": "not_found"}),
        (body(TWINS), {"result": "ambiguous"}),
        (body(LIVING, name="A<&>\"' B"), {"result": "mismatch", "fields": ["fullName"]}),
    ],
)
def test_a_question_has_its_answer(asked: dict[str, str], reply: dict[str, object]) -> None:
    assert ask(asked) == reply


@pytest.mark.parametrize(
    ("one", "other"),
    [(NAME, "nguyen thi ngoc anh"), ("LÊ ĐỨC", "Le Duc"), ("HÒA", "HOÀ"), ("Y-BLƠ", "YBLO")],
)
def test_names_are_compared_without_accents_and_signs(one: str, other: str) -> None:
    assert folded(one) == folded(other)


@pytest.mark.parametrize(
    ("recorded", "stated", "same"),
    [
        ("1965-05-12", "1965-05-12", True),
        ("1965-05-12", "1965-05-13", False),
        ("1965-05-12", "1965", True),
        ("1965", "1965-05-12", True),
        ("1965", "1966-05-12", False),
        ("1965-05-12", "1965-06", False),
    ],
)
def test_birth_dates_are_compared_as_far_as_both_go(recorded: str, stated: str, *, same: bool) -> None:
    assert same_birth(recorded, stated) is same


NOBODY = Rules(procedures=frozenset(), officers=frozenset())


@pytest.mark.parametrize(
    ("asker", "rules", "code"),
    [
        (ASKER, NOBODY, "PROCEDURE_NOT_ALLOWED"),
        (ASKER, Rules(procedures=RULES.procedures, officers=frozenset()), "OFFICER_NOT_ALLOWED"),
        (
            mapping.Asker(request_id="1", procedure="2.2", officer="cb-01", unit="H01"),
            RULES,
            "PROCEDURE_NOT_ALLOWED",
        ),
        (
            mapping.Asker(request_id="1", procedure=ASKER.procedure, officer="", unit="H01"),
            RULES,
            "RECORD_UNCOMPLETE",
        ),
    ],
)
def test_only_known_officers_ask_in_known_procedures(asker: mapping.Asker, rules: Rules, code: str) -> None:
    with pytest.raises(Declined, match=code):
        ask(body(LIVING), asker, rules)


GOOD = mapping.question(body(LIVING), ASKER)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"", "DATA_TYPE_INVALID"),
        (b"<a", "DATA_TYPE_INVALID"),
        (b"\xff\xfe" + GOOD.decode().encode("utf-16-le"), "DATA_TYPE_INVALID"),
        (soap.write("<x/>"), "OPERATION_UNKNOWN"),
        (GOOD.replace(b"<MaTichHop>037", b"<MaTichHop>038"), "DATA_INCORRECT"),
        (GOOD.replace(b"NgayThangNam>", b"Ngay>"), "DATA_TYPE_INVALID"),
        (GOOD.replace(b">19650512<", b">12/05/1965<"), "DATA_TYPE_INVALID"),
        (GOOD.replace(b"SoDinhDanh>", b"So>"), "RECORD_UNCOMPLETE"),
        (GOOD.replace(NAME.encode(), b" "), "RECORD_UNCOMPLETE"),
    ],
)
def test_a_broken_question_is_declined(message: bytes, code: str) -> None:
    with pytest.raises(Declined, match=code):
        answered(message, REGISTRY, RULES)


@pytest.mark.parametrize(
    "message",
    [
        b'<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>',
        b'<?xml version="1.0"?><!DOCTYPE a SYSTEM "file:///etc/hostname"><a/>',
        b"<a><!-- c --></a>",
        b"<a><![CDATA[x]]></a>",
        '<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>'.encode("utf-16"),
        b'<?xml version="1.0" encoding="utf-7"?>+ADwAIQ-DOCTYPE a+AD4-',
        b"<a>" + b" " * soap.MOST_BYTES + b"</a>",
        b"<a></a>",
        soap.write(""),
        soap.write("<a/><b/>"),
    ],
)
def test_a_harmful_or_shapeless_message_is_refused_before_it_is_read(message: bytes) -> None:
    with pytest.raises(soap.SoapBroken):
        soap.read(message)


def test_a_fault_is_read_as_its_code() -> None:
    assert mapping.answer(fault("OFFICER_NOT_ALLOWED")) == mapping.Fault(code="OFFICER_NOT_ALLOWED")


def collection(inside: str) -> bytes:
    return soap.write(f'<CongdanCollection xmlns="{mapping.ANSWERED}">{inside}</CongdanCollection>')


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"{}",
        soap.write("<Other/>"),
        soap.write("<CongdanCollection/>"),
        collection(""),
        collection("<CongDan/>"),
        collection("<CongDan><TonTai>co</TonTai></CongDan>"),
        collection("<CongDan><TonTai>1</TonTai><KhopHoVaTen>1</KhopHoVaTen></CongDan>"),
        collection(
            "<CongDan><TonTai>1</TonTai><KhopHoVaTen>1</KhopHoVaTen>"
            "<KhopNgayThangNamSinh>1</KhopNgayThangNamSinh></CongDan>"
        ),
    ],
)
def test_an_answer_of_another_shape_is_broken_and_never_a_match(message: bytes) -> None:
    with pytest.raises(mapping.AnswerBroken):
        mapping.answer(message)


def test_a_question_names_who_asks_and_why() -> None:
    text = GOOD.decode()
    for part in (ASKER.request_id, ASKER.procedure, ASKER.officer, ASKER.unit, "<MaTichHop>037</MaTichHop>"):
        assert part in text
    assert f"<SoDinhDanh>{LIVING}</SoDinhDanh>" in text
    assert "<SoCMND>990000123</SoCMND>" in mapping.question(body(TWINS), ASKER).decode()
    assert "<Nam>1965</Nam>" in mapping.question(body(LIVING, birth="1965"), ASKER).decode()
