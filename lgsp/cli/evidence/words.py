"""What each check of a bundle of evidence says, in plain words of both languages; what is said where is the commands' and the report's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lgsp.domain.evidence_checks import Check, CheckName, PartName
from lgsp.errors import Language

Words = tuple[str, str]
"""English, Vietnamese."""

TITLES: Final[dict[CheckName, Words]] = {
    "form": ("form", "dạng tệp"),
    "bus": ("bus", "trục"),
    "directory": ("directory", "danh bạ"),
    "checkpoint": ("checkpoint", "điểm chốt"),
    "log": ("log", "nhật ký"),
    "envelope": ("envelope", "phong bì"),
    "sender": ("sender", "bên gửi"),
    "body": ("body", "nội dung"),
    "receipt": ("receipt", "biên nhận"),
    "entry": ("entry", "mục nhật ký"),
    "leave": ("grant", "quyền"),
    "ack": ("ack", "xác nhận"),
}
PARTS: Final[dict[PartName, Words]] = {
    "": ("", ""),
    "message": ("message", "thông điệp"),
    "reply": ("reply", "trả lời"),
}
SAID: Final[dict[CheckName, Words]] = {
    "form": (
        "the file has the form of a bundle of evidence and keeps within its bounds",
        "tệp đúng dạng bộ chứng cứ và không vượt giới hạn",
    ),
    "bus": ("it is of the bus that the trust file names: {bus}", "đúng là của trục nêu trong tệp tin cậy: {bus}"),
    "directory": (
        "the registrar signed version {versions} of the directory; all {records} records stand in what was signed",
        "bộ phận quản lý danh bạ đã ký phiên bản {versions}; cả {records} bản ghi đều nằm trong danh bạ đã ký",
    ),
    "checkpoint": (
        "the log's key signed the checkpoint over {size} entries of {origin}; witnesses asked for and found: {witnesses}",
        "khóa của nhật ký đã ký điểm chốt gồm {size} mục của {origin}; số nhân chứng được yêu cầu và có chữ ký: {witnesses}",
    ),
    "log": (
        "entries {indexes} stand in that log, unchanged, and are about nothing else",
        "các mục {indexes} nằm trong nhật ký đó, không bị sửa, và không nói về trao đổi nào khác",
    ),
    "envelope": (
        "{env} was signed with key {kid}, which was valid in version {version} of the directory",
        "{env} được ký bằng khóa {kid}, khóa có hiệu lực trong phiên bản {version} của danh bạ",
    ),
    "sender": ("the key belongs to the sender {source}", "khóa thuộc về bên gửi {source}"),
    "body": ("the body is the one whose hash was signed", "nội dung đúng là nội dung có mã băm đã ký"),
    "receipt": (
        "{gateway} signed the receipt at {at}: accepted, entry {index}",
        "{gateway} đã ký biên nhận lúc {at}: đã tiếp nhận, mục {index}",
    ),
    "entry": (
        "entry {index} of {at} says of sender, receiver, type, key and version what was signed",
        "mục {index} lúc {at} ghi đúng bên gửi, bên nhận, loại, khóa và phiên bản như đã ký",
    ),
    "leave": (
        "grant {grant} allowed it; its basis: {basis}",
        "được phép theo quyền {grant}; căn cứ: {basis}",
    ),
    "ack": (
        "signed by who may receive it, and named in the log",
        "do bên được quyền nhận ký, và có trong nhật ký",
    ),
}
BY_BRIDGE: Final[Words] = (
    "the key belongs to {signer}, to which the directory gives leave to sign for {source}",
    "khóa thuộc về {signer}, được danh bạ cho phép ký thay {source}",
)
NO_BODY: Final[Words] = (
    "the bundle holds no body (erased, or not shown); what was signed stands by its hash {hash}",
    "bộ chứng cứ không có nội dung (đã xóa hoặc không đưa ra); điều đã ký vẫn kiểm được qua mã băm {hash}",
)
ANSWERS: Final[Words] = (
    "it answers the request {cause}, from where that was sent, in time",
    "là trả lời cho yêu cầu {cause}, từ đúng nơi được hỏi, đúng hạn",
)
ENDS: Final[dict[str, Words]] = {"accepted": ("taken over by", "đã nhận"), "rejected": ("rejected by", "từ chối nhận")}
NO_ACK: Final[Words] = (
    "no signed ack of a receiver stands in the log under this checkpoint",
    "trong nhật ký đến điểm chốt này chưa có xác nhận có chữ ký của bên nhận",
)
EVENTS: Final[dict[str, Words]] = {
    "msg.accepted": ("accepted", "đã tiếp nhận"),
    "msg.rejected": ("refused", "bị từ chối"),
    "msg.delivered": ("handed to the receiver", "đã giao cho bên nhận"),
    "msg.acked": ("acknowledged by the receiver", "bên nhận đã xác nhận"),
    "msg.nacked": ("put back by the receiver", "bên nhận trả lại"),
    "msg.waiting": ("not taken over, to be tried again", "chưa được tiếp nhận, sẽ giao lại"),
    "msg.expired": ("its time ran out, or it was ended", "hết hạn hoặc bị kết thúc"),
    "msg.parked": ("parked: a person must look", "tạm giữ, chờ người xem xét"),
    "msg.replayed": ("let out again by a person", "có người phát lại"),
    "audit.read": ("its bodies were read for evidence", "có người đọc nội dung để lập chứng cứ"),
    "admin.parked.read": ("read by a person while parked", "có người đọc khi đang tạm giữ"),
}


def chosen(words: Words, language: Language) -> str:
    """Return the text of one language."""
    return words[1] if language == "vi" else words[0]


def title(name: CheckName, part: PartName, language: Language) -> str:
    """Return what a check is called, with the part that it is about."""
    of = chosen(PARTS[part], language)
    return chosen(TITLES[name], language) if not of else f"{of}, {chosen(TITLES[name], language)}"


def said(check: Check, language: Language) -> str:
    """Return what a check that held says."""
    found = check.found
    words = SAID[check.name]
    if check.name == "sender" and found["signer"] != found["source"]:
        words = BY_BRIDGE
    elif check.name == "body" and not found["held"]:
        words = NO_BODY
    elif check.name == "leave" and "cause" in found:
        words = ANSWERS
    elif check.name == "ack":
        return _said_of_acks(found, language)
    return chosen(words, language).format_map(found)


def _said_of_acks(found: Mapping[str, str], language: Language) -> str:
    ends = [f"{chosen(words, language)} {found[end]}" for end, words in ENDS.items() if found[end]]
    return f"{chosen(SAID['ack'], language)}: {'; '.join(ends)}" if ends else chosen(NO_ACK, language)
