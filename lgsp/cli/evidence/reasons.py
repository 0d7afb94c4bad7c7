"""Why a check of a bundle of evidence failed, in Vietnamese. The checks say it in English words; what is not known here stays as they say it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Final

from lgsp.errors import Language, catalogue

REASONS: Final[Mapping[str, str]] = {
    # What the bundle states of one thing is not what it states of another.
    "the bundle is of another bus than the trust file": "bộ chứng cứ là của trục khác với tệp tin cậy",
    "version {a} of the directory stands twice": "phiên bản {a} của danh bạ có hai lần",
    "the directory names another key of the log": "danh bạ nêu khóa khác cho nhật ký",
    "entry {a} does not stand in the log": "mục {a} không nằm trong nhật ký",
    "entry {a} is out of order": "mục {a} không đúng thứ tự",
    "entry {a} has another number": "mục {a} mang số khác",
    "entry {a} is another exchange's": "mục {a} là của trao đổi khác",
    "version {a} of the directory is not in the bundle": "bộ chứng cứ không có phiên bản {a} của danh bạ",
    "the key may not sign for the source": "khóa không được ký thay bên gửi",
    "the receipt is not of a gateway of this bus": "biên nhận không phải của một cổng thuộc trục này",
    "the receipt is of another log": "biên nhận thuộc nhật ký khác",
    "the receipt states another {a} than the envelope": "biên nhận ghi {a} khác với phong bì",
    "the receipt names no entry": "biên nhận không nêu mục nhật ký nào",
    "the receipt names no directory version": "biên nhận không nêu phiên bản danh bạ",
    "the bundle does not hold the one entry that accepted the envelope": "bộ chứng cứ không có đúng một mục tiếp nhận phong bì",
    "the receipt states another entry than the log": "biên nhận nêu mục khác với nhật ký",
    "the log names an ack that the bundle does not hold": "nhật ký nêu một xác nhận mà bộ chứng cứ không có",
    "the ack names another system than its key's owner": "xác nhận nêu hệ thống khác với chủ của khóa",
    "the ack is another envelope's": "xác nhận là của phong bì khác",
    "{a} is no receiver of the message": "{a} không phải bên nhận thông điệp",
    "the log does not name the ack": "nhật ký không nêu xác nhận này",
    "the log says another end than the ack": "nhật ký ghi kết cục khác với xác nhận",
    "the ack is judged by a version before that of the acceptance": "xác nhận được xét theo phiên bản trước phiên bản tiếp nhận",
    "the ack is judged by a version that came after it": "xác nhận được xét theo phiên bản có sau nó",
    "the log states another {a} than the envelope or its receipt": "nhật ký ghi {a} khác với phong bì hoặc biên nhận",
    "the log states another version of the directory": "nhật ký ghi phiên bản danh bạ khác",
    "the service does not have this schema": "dịch vụ không có lược đồ này",
    "a reply stands where its request belongs": "bản trả lời nằm ở chỗ của yêu cầu",
    "the sender's agency does not exist": "cơ quan của bên gửi không tồn tại",
    "the log names another grant than the one that allows it": "nhật ký nêu quyền khác với quyền cho phép",
    "the reply answers another request": "bản trả lời là cho yêu cầu khác",
    "the reply is not from where the request was sent": "bản trả lời không đến từ nơi được hỏi",
    "the reply is late": "bản trả lời đến muộn",
    "the log names a grant for a reply": "nhật ký nêu quyền cho một bản trả lời",
    # The form of the file.
    "larger than {a} bytes": "lớn hơn {a} byte",
    "the form is not {a}": "dạng tệp không phải {a}",
    "an object has other members than {a}": "một đối tượng có các thành phần khác với {a}",
    "a member is no text of at most {a} characters": "một thành phần không phải chuỗi dài nhất {a} ký tự",
    "a member is no number from 0 on": "một thành phần không phải số từ 0 trở lên",
    "a member is no list of at most {a}": "một thành phần không phải danh sách nhiều nhất {a} phần tử",
    "a step of a path has 32 bytes": "mỗi bước của đường dẫn phải dài 32 byte",
    "a statement is too large": "một văn bản ký quá lớn",
    "a statement has the members jws, item, pos, path": "văn bản ký phải có các thành phần jws, item, pos, path",
    "a member of the statement has another type": "một thành phần của văn bản ký có kiểu khác",
    "the path of the statement is out of bounds": "đường dẫn của văn bản ký vượt giới hạn",
    "the statement's payload is not of its form": "phần được ký của văn bản ký không đúng dạng",
    "the statement's path": "đường dẫn của văn bản ký",
    "the statement's item": "phần tử của văn bản ký",
    "the item is not under the signed root": "phần tử không nằm dưới giá trị gốc đã ký",
    "not a hash of the protocol's form": "mã băm không đúng dạng của giao thức",
    "not a time of the protocol's form": "thời điểm không đúng dạng của giao thức",
    "not strict JSON": "không phải JSON chặt chẽ",
    "not a JSON object": "không phải đối tượng JSON",
    "nested too deeply": "lồng quá sâu",
    "a number is out of range": "một số vượt phạm vi",
    "not canonical base64url": "không phải base64url chuẩn",
    # The directory.
    "the statement is another bus's or has no version": "văn bản danh bạ là của trục khác hoặc không có phiên bản",
    "record {a} is not one of the statement's": "bản ghi {a} không thuộc danh bạ đã ký",
    "the statement has no root": "văn bản danh bạ không có giá trị gốc",
    "the statement has no time of the protocol's form": "văn bản danh bạ không có thời điểm đúng dạng",
    "the statement is not by the pinned registrar": "văn bản danh bạ không do bộ phận quản lý danh bạ nêu trong tệp tin cậy ký",
    "the statement is not strict JSON": "văn bản danh bạ không phải JSON chặt chẽ",
    "the statement does not verify: {a}": "văn bản danh bạ không kiểm chứng được: {a}",
    "{a} stands twice": "{a} có hai lần",
    "key {a} is not the thumbprint of its JWK": "khóa {a} không phải dấu vân tay của JWK",
    "key {a} has a role that its owner cannot hold": "khóa {a} có vai trò mà chủ khóa không thể giữ",
    "a record is not strict JSON": "một bản ghi không phải JSON chặt chẽ",
    # The checkpoint.
    "a checkpoint has an origin, a size below 2^63 and a root of 32 bytes":
        "điểm chốt phải có tên nhật ký, kích thước dưới 2^63 và giá trị gốc 32 byte",
    "the root of an empty log is the hash of nothing": "giá trị gốc của nhật ký trống phải là mã băm của chuỗi rỗng",
    "a checkpoint has three lines: origin, size and root": "điểm chốt có ba dòng: tên nhật ký, kích thước và giá trị gốc",
    "the log or a demanded witness has not signed the checkpoint": "nhật ký hoặc nhân chứng được yêu cầu chưa ký điểm chốt",
    "the checkpoint is of another log": "điểm chốt thuộc nhật ký khác",
    "a size or index is a plain decimal below 2^63": "kích thước và số mục phải là số thập phân dưới 2^63",
    "a hash has 32 bytes": "mã băm phải dài 32 byte",
    "the time of a cosignature is out of range": "thời điểm của chữ ký nhân chứng vượt phạm vi",
    "a key has signed the note twice": "một khóa đã ký hai lần",
    "no known key has signed the note": "không có khóa nào đã biết ký văn bản này",
    "not canonical base64": "không phải base64 chuẩn",
    "the text of a note ends in a newline and has no other control character":
        "văn bản phải kết thúc bằng xuống dòng và không có ký tự điều khiển khác",
    "the text of a note is Unicode without lone surrogates": "văn bản phải là Unicode hợp lệ",
    "the note is too long": "văn bản quá dài",
    "a note is a text, an empty line and signature lines, each ended by a newline":
        "văn bản phải gồm nội dung, một dòng trống và các dòng chữ ký, mỗi dòng có xuống dòng",
    "not a signature line: dash, key name and base64 expected": "không phải dòng chữ ký: cần dấu gạch, tên khóa và base64",
    "the signature of a known key is wrong": "chữ ký của khóa đã biết bị sai",
    # The envelope.
    "a required attribute is missing": "thiếu một thuộc tính bắt buộc",
    "the attribute is not of its form": "thuộc tính không đúng dạng",
    "the attribute looks like a person's number": "thuộc tính trông giống số định danh của người",
    "the attribute is not a time": "thuộc tính không phải thời điểm",
    "the attribute is not a UTC time of the protocol's form": "thuộc tính không phải thời điểm UTC đúng dạng của giao thức",
    "the audience is one system, agency or topic": "bên nhận phải là một hệ thống, cơ quan hoặc chủ đề",
    "the size is a count of bytes": "kích thước phải là số byte",
    "bodies are application/json": "nội dung phải là application/json",
    "the attribute is reserved": "thuộc tính được dành riêng",
    "the attribute is not used on this bus": "thuộc tính không dùng trên trục này",
    "an added attribute has a name of 1-20 of a-z0-9 and a text, integer or boolean":
        "thuộc tính thêm phải có tên 1-20 ký tự a-z0-9 và giá trị chuỗi, số nguyên hoặc đúng/sai",
    "the size differs": "kích thước khác",
    "the hash differs": "mã băm khác",
    "the system is not active": "hệ thống không hoạt động",
    "the service asks for a case file": "dịch vụ yêu cầu nêu hồ sơ",
}  # fmt: skip
"""English -> Vietnamese; braces hold what is named or counted."""


def reason(words: str, language: Language) -> str:
    """Return a failure's words in one language: those of a refusal are its code, and mostly a detail after a colon."""
    if language != "vi":
        return words
    if known := _vietnamese(words):
        return known
    code, _, detail = words.partition(": ")
    if code not in catalogue():
        return words
    title = catalogue()[code].title["vi"]
    return f"{code}: {title}" + (f" ({_vietnamese(detail) or detail})" if detail else "")


def _vietnamese(words: str) -> str | None:
    """Return known words in Vietnamese, whatever is named in them; None for others."""
    if words in REASONS:
        return REASONS[words]
    for pattern, vietnamese in _patterns().items():
        if (match := pattern.fullmatch(words)) is not None:
            return vietnamese.format_map(match.groupdict())
    return None


@cache
def _patterns() -> Mapping[re.Pattern[str], str]:
    """Return the words that name something, the longest first: a shorter one may fit, too."""
    named = sorted((each for each in REASONS if "{a}" in each), key=len, reverse=True)
    return {re.compile(re.escape(each).replace(r"\{a\}", "(?P<a>.+)")): REASONS[each] for each in named}
