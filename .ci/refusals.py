#!/usr/bin/env python
"""Writes docs/refusals.md and docs/vi/refusals.md from the catalogue of refusals: `make docs`. The words are the catalogue's own."""

from pathlib import Path

from lgsp.errors import Entry, Language, catalogue

ROOT = Path(__file__).parents[1]
PAGES: dict[Language, str] = {"en": "docs/refusals.md", "vi": "docs/vi/refusals.md"}
INTRODUCTION: dict[Language, str] = {
    "en": """\
# Refusals

Every "no" of the bus, of a receiver's SDK and of the commands carries one of these codes. A code never changes its meaning; title and
hint come in English or Vietnamese, as the caller's `Accept-Language` or `--lang` asks. On HTTP a refusal is a problem
(`application/problem+json`, [protocol](protocol.md), section 4) whose `pointer` names the member that is wrong; no value out of a body is
ever in it. Receivers' own codes, given in a rejecting ack, are not listed. Tiếng Việt: [vi/refusals.md](vi/refusals.md).

*Again* says whether the same bytes may succeed later. *Who acts* says whose turn it is. This page is made from `lgsp/catalogue.toml` with
`make docs`.

| code | status | again | who acts | means | do |
| --- | --- | --- | --- | --- | --- |
""",
    "vi": """\
# Các mã từ chối

Mỗi lần trục, SDK của bên nhận hoặc một lệnh từ chối đều kèm một trong các mã này. Mã không bao giờ đổi nghĩa; tiêu đề và gợi ý có tiếng
Việt và tiếng Anh, tùy theo `Accept-Language` của bên gọi hoặc `--lang`. Qua HTTP, lời từ chối có dạng `application/problem+json` ([giao
thức](../protocol.md), mục 4), trong đó `pointer` chỉ ra thành phần sai; không bao giờ chứa giá trị lấy từ nội dung. Mã riêng của bên
nhận, nêu trong xác nhận từ chối, không có ở đây. English: [../refusals.md](../refusals.md).

Cột *gửi lại* cho biết gửi lại đúng các byte đó về sau có thể được hay không. Cột *ai xử lý* cho biết đến lượt ai. Trang này được tạo từ
`lgsp/catalogue.toml` bằng `make docs`.

| mã | trạng thái | gửi lại | ai xử lý | nghĩa là | cách khắc phục |
| --- | --- | --- | --- | --- | --- |
""",
}
AGAIN: dict[Language, tuple[str, str]] = {"en": ("no", "yes"), "vi": ("không", "được")}
ACTS: dict[Language, dict[str, str]] = {
    "en": {
        "sender": "sender", "administrator": "registrar", "operator": "operator", "nobody": "nobody", "us": "the bus's makers",
    },
    "vi": {
        "sender": "bên gửi", "administrator": "bộ phận quản lý danh bạ", "operator": "người vận hành", "nobody": "không ai",
        "us": "bên phát triển trục",
    },
}  # fmt: skip


def page(language: Language) -> str:
    """Return the page in a language, a row for each code in the catalogue's order."""
    return INTRODUCTION[language] + "".join(_row(entry, language) for entry in catalogue().values())


def _row(entry: Entry, language: Language) -> str:
    cells = (
        f"`{entry.code}`",
        str(entry.status),
        AGAIN[language][entry.retryable],
        ACTS[language][entry.family],
        entry.title[language],
        entry.hint[language],
    )
    return f"| {' | '.join(cells)} |\n"


def main() -> None:
    """Write both pages."""
    for language, path in PAGES.items():
        (ROOT / path).write_text(page(language), encoding="utf-8")


if __name__ == "__main__":
    main()
