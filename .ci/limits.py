#!/usr/bin/env python
"""Writes docs/limits.md and docs/vi/limits.md: `make docs`. Figures are the program's, English words their docstrings, the rest is in limits.toml."""

import ast
import importlib
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

Language = Literal["en", "vi"]
ROOT = Path(__file__).parents[1]
PAGES: dict[Language, str] = {"en": "docs/limits.md", "vi": "docs/vi/limits.md"}
UNITS = (("MiB", 1024**2), ("KiB", 1024))
HEAD: dict[Language, str] = {
    "en": "| name | figure | bounds | beyond it |\n| --- | --- | --- | --- |\n",
    "vi": "| tên | số | giới hạn | vượt quá thì |\n| --- | --- | --- | --- |\n",
}
INTRODUCTION: dict[Language, str] = {
    "en": """\
# Limits

Every queue, cache and buffer of the bus has a bound, and every bound stands here with what happens beyond it: a code of the
[refusals](refusals.md), or what the bus does. This page is made from the program with `make docs`. Tiếng Việt: [vi/limits.md](vi/limits.md).
""",
    "vi": """\
# Các giới hạn

Mọi hàng đợi, bộ nhớ đệm và bộ đệm của trục đều có giới hạn, và mọi giới hạn đều ở đây cùng điều xảy ra khi vượt quá: một mã trong [các mã
từ chối](refusals.md), hoặc việc trục làm. Trang này được tạo từ chương trình bằng `make docs`. English: [../limits.md](../limits.md).
""",
}
REST: dict[Language, str] = {
    "en": """\
## Quotas

A grant's `quota_per_day` bounds how many exchanges it allows on one day of the bus (Asia/Ho_Chi_Minh): what is more is refused with
`quota_exceeded` (429), and `Retry-After` says how long the day lasts. A quota for one officer and day is a grant of its own that names that
officer alone in `officers`, for a service that asks for `authid`: each officer then has a count of their own.

## Bounded by the directory

What is kept once for each system, inbox, key, schema or pair of them is bounded by the signed directory, and grows with it alone: inboxes and
who watches them, who holds how many places, counts of a quota, refusals of a key by code, compiled schemas, queues and readers at the broker.

## What they come to together

A gateway holds at most, beside 120 MB of its own: for each of its `connections` one body while it is read (the largest that a service allows);
for each stream `unsent_bytes` outgoing, and `inflight_bytes` of envelopes that are not answered yet, with one message more; for each open inbox
`credit` deliveries, which lie in the ledger until they are sent. A service that allows larger bodies makes all of it larger. What waits for a
turn or for the ledger is what these calls and frames wait for, and no more. While the ledger is away, refusals are summed on until it is back.

Before anything is proven, a connection may hold an envelope with the largest body that a service allows, for `body_seconds`: an envelope in
structured form is signed by what stands in its body. A stream may hold `hello_bytes`. Every other call says in a header who makes it, and its
body is read when that is proven.
""",
    "vi": """\
## Hạn mức

`quota_per_day` của một quyền giới hạn số trao đổi quyền đó cho phép trong một ngày của trục (Asia/Ho_Chi_Minh): vượt quá thì bị từ chối với
`quota_exceeded` (429), và `Retry-After` cho biết ngày còn bao lâu. Hạn mức cho từng cán bộ trong ngày là một quyền riêng chỉ nêu cán bộ đó
trong `officers`, với dịch vụ đòi `authid`: khi đó mỗi cán bộ được đếm riêng.

## Giới hạn theo danh bạ

Những gì được giữ một lần cho mỗi hệ thống, hộp thư, khóa, lược đồ hay từng cặp thì bị danh bạ đã ký giới hạn, và chỉ lớn lên cùng danh bạ: hộp
thư và ai theo dõi, ai giữ bao nhiêu chỗ, số đếm của hạn mức, lời từ chối của một khóa theo mã, lược đồ đã biên dịch, hàng đợi tại RabbitMQ.

## Cộng lại

Ngoài 120 MB của chính mình, một cổng giữ nhiều nhất: với mỗi kết nối trong `connections` một nội dung khi đang đọc (lớn nhất mà một dịch vụ
cho phép); với mỗi luồng `unsent_bytes` chờ gửi đi và `inflight_bytes` phong bì chưa trả lời, thêm một thông điệp; với mỗi hộp thư đang mở `credit`
lượt giao, nằm trong sổ cái đến khi được gửi. Dịch vụ cho phép nội dung lớn hơn làm tất cả lớn hơn. Những gì chờ đến lượt hoặc chờ sổ cái là
những gì các lời gọi và khung ấy đang chờ, không hơn. Khi sổ cái vắng mặt, các lời từ chối được cộng dồn đến khi sổ cái trở lại.

Trước khi có gì được chứng minh, một kết nối được giữ một phong bì có nội dung lớn nhất mà một dịch vụ cho phép, trong `body_seconds`: phong bì
dạng có cấu trúc được ký bởi chính phần nằm trong đó. Một luồng được giữ `hello_bytes`. Mọi lời gọi khác nêu người gọi trong tiêu đề, và nội dung
chỉ được đọc khi điều đó được chứng minh.
""",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One bound as the program has it."""

    name: str
    value: Any
    docstring: str


@cache
def words() -> dict[str, Any]:
    """Return the words that stand nowhere in the code."""
    return tomllib.loads((ROOT / ".ci/limits.toml").read_text(encoding="utf-8"))


@cache
def docstrings(module: str) -> dict[str, str]:
    """Return the string below each assignment of a module and of the classes in it."""
    tree = ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8"))
    bodies = [tree.body, *(node.body for node in tree.body if isinstance(node, ast.ClassDef))]
    return {
        name: ast.literal_eval(below.value)
        for body in bodies
        for node, below in pairwise(body)
        if (name := _assigned(node))
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str)
    }


def _assigned(node: ast.stmt) -> str:
    targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets if isinstance(node, ast.Assign) else []
    return next((target.id for target in targets if isinstance(target, ast.Name)), "")


def figures(part: dict[str, Any]) -> Iterator[Figure]:
    """Yield the figures of a part of the page: every field of an object, or the constants that the words name."""
    if "object" in part:
        found = getattr(importlib.import_module(part["module"]), part["object"])
        for name in found.__dataclass_fields__:
            yield Figure(name=name, value=getattr(found, name), docstring=docstrings(part["module"])[name])
        return
    for name in part["row"]:
        module, _, constant = name.partition(":")
        value = getattr(importlib.import_module(module), constant)
        yield Figure(name=name, value=value, docstring=docstrings(module)[constant])


def figure_text(figure: Figure, unit: str, language: Language) -> str:
    """Return a figure as people read it."""
    value = figure.value
    if value is None:
        return {"en": "none", "vi": "không"}[language]
    if isinstance(value, timedelta):
        return f"{_number(value.total_seconds(), language)} s"
    if unit == "bytes" or figure.name.endswith("_bytes"):
        for name, size in UNITS:
            if value >= size and value % size == 0:
                return f"{_number(value // size, language)} {name}"
        return f"{_number(value, language)} byte" + ("s" if language == "en" else "")
    is_seconds = unit == "seconds" or figure.name.endswith("_seconds") or figure.name == "retry_after"
    return _number(value, language) + (" s" if is_seconds else "")


def _number(value: float, language: Language) -> str:
    text = f"{value:,g}" if isinstance(value, float) else f"{value:,}"
    return text.translate(str.maketrans(",.", ".,")) if language == "vi" else text


def page(language: Language) -> str:
    """Return the page in a language."""
    parts = [f"\n## {part[language]}\n\n{HEAD[language]}{''.join(_rows(part, language))}" for part in words()["part"]]
    return INTRODUCTION[language] + "".join(parts) + "\n" + REST[language]


def _rows(part: dict[str, Any], language: Language) -> Iterator[str]:
    for figure in figures(part):
        said = part["row"][figure.name]
        bounds = " ".join(figure.docstring.split()).rstrip(".") if language == "en" else said["vi"]
        beyond = said["beyond" if language == "en" else "beyond_vi"]
        name = figure.name.removeprefix("lgsp.")
        figure_said = figure_text(figure, said.get("unit", ""), language)
        yield f"| `{name}` | {figure_said} | {bounds} | {beyond} |\n"


def main() -> None:
    """Write both pages."""
    for language, path in PAGES.items():
        (ROOT / path).write_text(page(language), encoding="utf-8")


if __name__ == "__main__":
    main()
