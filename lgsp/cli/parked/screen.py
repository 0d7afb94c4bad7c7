"""What `lgsp parked` shows: lists, stories and results, of names and codes alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from lgsp.cli.voice import Voice
from lgsp.domain.names import short_system

DONE: Final = {"replay": ("goes out again", "đã phát lại"), "drop": ("dropped", "đã bỏ")}


def show_list(voice: Voice, listing: dict[str, Any]) -> None:
    """Show what is parked, a row each, and how many there are."""
    items = listing["items"]
    if not items:
        voice.tell("nothing is parked", "không có thông điệp nào đang tạm giữ")
        return
    table = voice.table(
        ("envelope", "phong bì"),
        ("for", "bên nhận"),
        ("from", "bên gửi"),
        ("type", "loại"),
        ("code", "mã lý do"),
        ("attempts", "số lần thử"),
        ("until", "hạn"),
    )
    for item in items:
        to, source = short_system(item["to"]), short_system(item["source"])
        table.add_row(item["env"], to, source, item["type"], item["code"], str(item["attempts"]), item["expires"])
    voice.show(table)
    total = f"{listing['total']}" if listing["whole"] else f"{listing['total']}+"
    voice.tell(f"{len(items)} of {total} parked", f"{len(items)} trên {total} thông điệp đang tạm giữ")


def show_story(voice: Voice, story: dict[str, Any]) -> None:
    """Show the request and its reply with their deliveries, then the entries of the log."""
    for exchange in story["chain"]:
        _show_exchange(voice, exchange)
    short = {exchange["env"]: exchange["type"] for exchange in story["chain"]}
    table = voice.table(
        ("index", "số thứ tự"), ("time", "thời gian"), ("event", "sự kiện"), ("of", "của"), ("to", "bên nhận"), ("", "")
    )
    for entry in story["entries"]:
        to = short_system(entry.get("to", ""))
        table.add_row(str(entry["seq"]), entry["ts"], entry["ev"], short[entry["env"]], to, _particulars(entry))
    voice.show(table)
    if not story["whole"]:
        voice.tell(
            f"the log was searched up to entry {story['searched']}", f"đã tìm đến mục {story['searched']} của nhật ký"
        )


def _particulars(entry: dict[str, Any]) -> str:
    named = (f"{name} {entry[name]}" for name in ("code", "attempt", "by") if name in entry)
    reason = [f"“{entry['reason']}”"] if "reason" in entry else []
    return ", ".join([*named, *reason])


def _show_exchange(voice: Voice, exchange: dict[str, Any]) -> None:
    word = (
        voice.choose("reply", "trả lời")
        if exchange["cause"]
        else voice.choose("request or event", "yêu cầu hoặc sự kiện")
    )
    voice.give(f"{word} {exchange['env']}")
    way = f"{short_system(exchange['source'])} → {short_system(exchange['audience'])}"
    voice.give(f"    {exchange['type']}  {way}  id {exchange['id']}")
    times = voice.choose("accepted {}, until {}", "nhận lúc {}, hạn {}").format(
        exchange["accepted_at"], exchange["expires"]
    )
    voice.give(f"    {times}")
    for held in exchange["deliveries"]:
        attempts = voice.choose(f"attempts {held['attempts']}", f"số lần thử {held['attempts']}")
        code = f", {held['code']}" if held["code"] else ""
        voice.give(f"    → {short_system(held['to'])}: {held['state']}{code}, {attempts}")


def show_results(voice: Voice, verb: str, chosen: Sequence[dict[str, str]], results: Sequence[dict[str, str]]) -> None:
    """Show what became of each delivery."""
    for named, result in zip(chosen, results, strict=True):
        to = f" → {short_system(named['to'])}" if "to" in named else ""
        if result:
            voice.give(f"✗ {named['env']}{to}: [{result['code']}] {result['detail']}")
        else:
            voice.give(f"✓ {named['env']}{to}: {voice.choose(*DONE[verb])}")
