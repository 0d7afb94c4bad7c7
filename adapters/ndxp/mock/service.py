"""The population service of the mock: SOAP question in, answer out. Pure; HTTP is left to `server`.

Written apart from the bridge's mapping, so that each finds the other's mistakes.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from adapters.ndxp import soap
from adapters.ndxp.mock.comparison import folded, same_birth
from adapters.ndxp.mock.registry import Entry, Registry

IN = "{http://dancuquocgia.bca}"
OUT = "http://www.mic.gov.vn/dancu/1.0"
INTEGRATION_CODE = "037"
BIRTH = re.compile(r"([0-9]{4})([0-9]{2})?([0-9]{2})?")
REQUIRED = ("MaYeuCau", "MaDVC", "MaTichHop", "MaCanBo")


class Declined(Exception):
    """The service declines; `code` goes into a SOAP fault."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Who may ask in which procedure; empty means nobody."""

    procedures: frozenset[str]
    officers: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    number: str
    name: str
    birth: str


def answered(message: bytes, registry: Registry, rules: Rules) -> bytes:
    """Return the SOAP answer, or raise Declined."""
    try:
        inside = soap.read(message)
    except soap.SoapBroken:
        raise Declined("DATA_TYPE_INVALID") from None
    if inside.tag != f"{IN}XacThucThongTinCongDan":
        raise Declined("OPERATION_UNKNOWN")
    _check_asker(inside, rules)
    question = _question(inside)
    return _collection(registry.get(question.number, ()), question)


def fault(code: str) -> bytes:
    """Return the SOAP fault for a code."""
    text = "<faultcode>soap:Client</faultcode><faultstring>Refused</faultstring>"
    return soap.write(f"<soap:Fault>{text}<detail>{soap.element('Ma', code)}</detail></soap:Fault>")


def _check_asker(inside: soap.Element, rules: Rules) -> None:
    if not all(soap.text_of(inside, IN + name) for name in REQUIRED):
        raise Declined("RECORD_UNCOMPLETE")
    if soap.text_of(inside, f"{IN}MaTichHop") != INTEGRATION_CODE:
        raise Declined("DATA_INCORRECT")
    if soap.text_of(inside, f"{IN}MaDVC") not in rules.procedures:
        raise Declined("PROCEDURE_NOT_ALLOWED")
    if soap.text_of(inside, f"{IN}MaCanBo") not in rules.officers:
        raise Declined("OFFICER_NOT_ALLOWED")


def _question(inside: soap.Element) -> _Question:
    number = soap.text_of(inside, f"{IN}SoDinhDanh") or soap.text_of(inside, f"{IN}SoCMND")
    names = [soap.text_of(inside, f"{IN}HoVaTen/{IN}{part}") for part in ("Ho", "ChuDem", "Ten")]
    birth = f"{IN}NgayThangNamSinh/{IN}"
    written = soap.text_of(inside, f"{birth}NgayThangNam") or soap.text_of(inside, f"{birth}Nam")
    parts = BIRTH.fullmatch(written)
    if not number or not any(names):
        raise Declined("RECORD_UNCOMPLETE")
    if parts is None:
        raise Declined("DATA_TYPE_INVALID")
    return _Question(number=number, name=folded("".join(names)), birth="-".join(filter(None, parts.groups())))


def _collection(entries: Sequence[Entry], question: _Question) -> bytes:
    citizens = [_citizen(entry, question) for entry in entries] or ["<CongDan><TonTai>0</TonTai></CongDan>"]
    return soap.write(f'<CongdanCollection xmlns="{OUT}">{"".join(citizens)}</CongdanCollection>')


def _citizen(entry: Entry, question: _Question) -> str:
    same_name, same_date = entry.name == question.name, same_birth(entry.birth, question.birth)
    return (
        f"<CongDan><TonTai>1</TonTai><KhopHoVaTen>{same_name:d}</KhopHoVaTen>"
        f"<KhopNgayThangNamSinh>{same_date:d}</KhopNgayThangNamSinh><DaMat>{entry.deceased:d}</DaMat></CongDan>"
    )
