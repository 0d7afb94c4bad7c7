"""Between our verification of a citizen and the population service's XacThucThongTinCongDan. Pure.

Namespaces and element names are those of the national service; the three yes-or-no members of the answer are
TonTai (exists), KhopHoVaTen (name agrees), KhopNgayThangNamSinh (birth date agrees), and DaMat (has died).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapters.ndxp import soap

ASKED = "http://dancuquocgia.bca"
ANSWERED = "http://www.mic.gov.vn/dancu/1.0"
OPERATION = "XacThucThongTinCongDan"
INTEGRATION_CODE = "037"
TRUTH = {"1": True, "0": False}


class AnswerBroken(ValueError):
    """The answer is not what the service promises; the text says why and quotes nothing of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who asks, and in which case: a question about a person is never anonymous."""

    request_id: str
    procedure: str
    officer: str
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """The service's refusal: a code of its own."""

    code: str


def question(body: Mapping[str, str], asker: Asker) -> bytes:
    """Write the SOAP request for a body that passed `citizen-verify-request`."""
    parts = [
        soap.element("MaYeuCau", asker.request_id),
        soap.element("MaDVC", asker.procedure),
        soap.element("MaTichHop", INTEGRATION_CODE),
        soap.element("MaCanBo", asker.officer),
        soap.element("MaDonVi", asker.unit),
        _number(body),
        f"<HoVaTen>{soap.element('Ten', body['fullName'])}</HoVaTen>",
        f"<NgayThangNamSinh>{_birth_date(body['birthDate'])}</NgayThangNamSinh>",
    ]
    return soap.write(f'<{OPERATION} xmlns="{ASKED}">{"".join(parts)}</{OPERATION}>')


def answer(message: bytes) -> dict[str, Any] | Fault:
    """Read the SOAP answer into a body for `citizen-verify-reply`, or raise AnswerBroken."""
    try:
        inside = soap.read(message)
    except soap.SoapBroken as error:
        raise AnswerBroken(str(error)) from error
    if inside.tag == f"{{{soap.SOAP}}}Fault":
        return Fault(code=soap.text_of(inside, "detail/Ma") or "unknown")
    if inside.tag != _tag("CongdanCollection"):
        raise AnswerBroken("the answer is not a collection of citizens")
    return _reply(inside.findall(_tag("CongDan")))


def _reply(citizens: Sequence[soap.Element]) -> dict[str, Any]:
    if not citizens:
        raise AnswerBroken("the answer names no citizen")
    if len(citizens) > 1:
        return {"result": "ambiguous"}
    if not _truth(citizens[0], "TonTai"):
        return {"result": "not_found"}
    return _compared(citizens[0])


def _compared(citizen: soap.Element) -> dict[str, Any]:
    agreed = {
        "fullName": _truth(citizen, "KhopHoVaTen"),
        "birthDate": _truth(citizen, "KhopNgayThangNamSinh"),
    }
    deceased = _truth(citizen, "DaMat")
    if differing := [member for member, same in agreed.items() if not same]:
        # Whoever cannot name a person does not learn whether that person lives.
        return {"result": "mismatch", "fields": differing}
    return {"result": "deceased" if deceased else "match"}


def _number(body: Mapping[str, str]) -> str:
    if "personalNumber" in body:
        return soap.element("SoDinhDanh", body["personalNumber"])
    return soap.element("SoCMND", body["oldNumber"])


def _birth_date(iso: str) -> str:
    name = "NgayThangNam" if "-" in iso else "Nam"
    return soap.element(name, iso.replace("-", ""))


def _truth(citizen: soap.Element, member: str) -> bool:
    try:
        return TRUTH[soap.text_of(citizen, _tag(member))]
    except KeyError:
        raise AnswerBroken(f"{member} is neither 1 nor 0") from None  # the cause quotes the answer


def _tag(name: str) -> str:
    return f"{{{ANSWERED}}}{name}"
