"""What a person sees of the demo: progress while it runs, tables when it is done, in English or Vietnamese."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from lgsp.cli.demo.latency import Latency
from lgsp.cli.demo.refusals import Shown
from lgsp.cli.demo.story import Outcome
from lgsp.cli.demo.tally import Tally
from lgsp.errors import Language

WORDS: Final[dict[str, tuple[str, str]]] = {
    "province": ("Keys, directory and data of a made-up An Giang", "Khóa, danh bạ và dữ liệu giả lập của An Giang"),
    "programs": (
        "Starting the gateway, the national platform (mock) and five systems",
        "Khởi động cổng, nền tảng quốc gia (giả lập) và năm hệ thống",
    ),
    "broker": ("Starting a private RabbitMQ server", "Khởi động máy chủ RabbitMQ riêng"),
    "database": ("Starting a private PostgreSQL server", "Khởi động máy chủ PostgreSQL riêng"),
    "idle": ("One-stop looks up applicants while the bus is idle", "Một cửa tra cứu người nộp hồ sơ khi trục rảnh"),
    "sync": (
        "Fisheries verifies every owner and tells who is linked; one-stop goes on looking up",
        "Thủy sản xác minh mọi chủ tàu và báo tàu đã liên kết; một cửa vẫn tra cứu",
    ),
    "refusals": ("What the bus refuses", "Những gì trục từ chối"),
    "verify": ("Stopping, then verifying the whole log", "Dừng lại và kiểm chứng toàn bộ nhật ký"),
    "backup": (
        "Keeping the ledger, whose database ends now, as a backup beside the other files",
        "Lưu sổ cái thành bản sao lưu cạnh các tệp khác, vì cơ sở dữ liệu riêng sắp dừng",
    ),
    "stay": (
        "The gateway's address: {url}. All programs stay up; Ctrl-C ends them and verifies the log",
        "Địa chỉ của cổng: {url}. Mọi chương trình vẫn chạy; nhấn Ctrl-C để dừng và kiểm chứng nhật ký",
    ),
    "lists": ("owner lists", "danh sách chủ tàu"),
    "verify_step": ("vessels", "tàu cá"),
    "result": ("Synchronisation of fishing vessels", "Đồng bộ tàu cá"),
    "vessels": ("vessels", "tàu cá"),
    "linked": ("linked to a verified owner", "đã liên kết chủ tàu được xác minh"),
    "quarantined": ("in quarantine, with a reason", "để riêng, có lý do"),
    "figures": ("Counted by the operations centre (IOC)", "Trung tâm điều hành (IOC) đếm được"),
    "counted": ("vessels counted", "tàu đã đếm"),
    "communes": ("communes with a linked vessel", "xã, phường, đặc khu có tàu liên kết"),
    "agreement": ("its figures and the fisheries'", "so với số liệu của thủy sản"),
    "equal": ("equal", "khớp"),
    "unequal": ("DIFFERENT: {places}", "KHÁC NHAU: {places}"),
    "latency": ("One-stop's lookups (ms)", "Tra cứu của một cửa (ms)"),
    "idle_row": ("idle", "lúc rảnh"),
    "busy_row": ("during the synchronisation", "trong lúc đồng bộ"),
    "calls": ("calls", "lượt"),
    "tried": ("tried", "đã thử"),
    "code": ("code", "mã"),
    "hint": ("what the sender is told to do", "gợi ý cho bên gửi"),
    "evidence": ("The log, checked from its first byte to its last", "Nhật ký, kiểm từ byte đầu đến byte cuối"),
    "exchanges": ("exchanges accepted", "trao đổi được tiếp nhận"),
    "refused": ("refused", "bị từ chối"),
    "entries": ("log entries", "mục nhật ký"),
    "root": ("root", "gốc cây băm"),
    "witnessed": ("of these co-signed by a witness", "trong đó nhân chứng đã đồng ký"),
    "verified": ("log, witness, one evidence bundle", "nhật ký, nhân chứng, một bộ chứng cứ"),
    "yes": ("verified", "đúng"),
    "no": ("NOT VERIFIED", "KHÔNG ĐÚNG"),
    "seconds": ("time", "thời gian"),
    "memory": ("gateway's peak memory", "bộ nhớ đỉnh của cổng"),
}


REASONS: Final[dict[str, tuple[str, str]]] = {
    "number_missing": (
        "neither police nor commune knows the owner's number",
        "cả công an và xã đều không có số định danh",
    ),
    "answers_differ": ("police and commune name different owners", "công an và xã trả lời khác nhau"),
    "owner_deceased": ("the owner has died", "chủ tàu đã mất"),
    "name_differs": ("the name is not the one registered", "họ tên không khớp"),
    "birth_date_differs": ("the birth date is not the one registered", "ngày sinh không khớp"),
    "person_differs": ("name and birth date are another person's", "họ tên và ngày sinh của người khác"),
    "number_unknown": ("nobody has this number", "số định danh không tồn tại"),
    "number_ambiguous": ("several persons have this old number", "số cũ trùng nhiều người"),
    "number_malformed": ("the number was written down wrongly", "số định danh ghi sai dạng"),
    "birth_date_missing": ("no birth date is on file", "thiếu ngày sinh"),
    "birth_date_unreadable": ("the birth date cannot be read", "ngày sinh không đọc được"),
    "no_answer": ("no answer came", "không có trả lời"),
    "refused": ("the question was refused", "câu hỏi bị từ chối"),
}
"""What the fisheries' reasons mean to a person; a reason that is not here is shown by its code."""


@dataclass(slots=True, kw_only=True)
class Stage:
    """Shows progress on standard error, so that standard output holds the result alone."""

    language: Language
    console: Console = field(default_factory=lambda: Console(stderr=True))
    _progress: Progress | None = None
    _bars: dict[str, TaskID] = field(default_factory=dict)

    @contextmanager
    def lit(self) -> Iterator[Stage]:
        """Show bars while the block runs."""
        columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=False) as progress:
            self._progress = progress
            yield self

    def word(self, name: str) -> str:
        """Return a text in the audience's language."""
        return WORDS[name][0 if self.language == "en" else 1]

    def act(self, name: str) -> None:
        """Announce what happens next."""
        self.console.print(f"• {self.word(name)}")

    def stay(self, url: str) -> None:
        """Say where the gateway is, in one piece: somebody may copy it, or another program read it."""
        self.console.print(f"• {self.word('stay').format(url=url)}", soft_wrap=True, highlight=False, markup=False)

    def progress(self, step: str, done: int, total: int) -> None:
        """Move the bar of a step."""
        if self._progress is None:
            return
        if step not in self._bars:
            name = self.word("verify_step" if step == "verify" else "lists")
            self._bars[step] = self._progress.add_task(name, total=total)
        self._progress.update(self._bars[step], completed=done, total=total)

    def present(self, outcome: Outcome, console: Console) -> None:
        """Print the result as tables."""
        console.print(self._vessels(outcome))
        console.print(self._figures(outcome.tally))
        console.print(self._latency(outcome.idle, outcome.busy))
        console.print(self._refusals(outcome))
        console.print(self._evidence(outcome))

    def _vessels(self, outcome: Outcome) -> Table:
        counts = outcome.report
        table = Table(title=self.word("result"), title_justify="left", show_header=False)
        table.add_row(self.word("vessels"), f"{counts['vessels']:,}")
        table.add_row(self.word("linked"), f"{counts['linked']:,}")
        table.add_row(self.word("quarantined"), f"{counts['quarantined']:,}")
        for reason, count in sorted(counts["by_reason"].items(), key=lambda pair: -pair[1]):
            table.add_row(f"  {self._reason(reason)}", f"{count:,}")
        table.add_row(self.word("seconds"), f"{outcome.sync_seconds:.1f} s")
        return table

    def _figures(self, tally: Tally) -> Table:
        table = Table(title=self.word("figures"), title_justify="left", show_header=False)
        table.add_row(self.word("counted"), f"{tally.counted:,}")
        table.add_row(self.word("communes"), f"{tally.communes:,}")
        places = ", ".join(tally.differing) or f"{tally.linked:,} / {tally.counted:,}"
        table.add_row(
            self.word("agreement"),
            self.word("equal") if tally.agrees else self.word("unequal").format(places=places),
        )
        return table

    def _reason(self, code: str) -> str:
        return REASONS.get(code, (code, code))[0 if self.language == "en" else 1]

    def _latency(self, idle: Latency, busy: Latency) -> Table:
        table = Table(title=self.word("latency"), title_justify="left")
        for name in ("", self.word("calls"), "p50", "p95", "p99"):
            table.add_column(name, justify="left" if not name else "right")
        for name, found in (("idle_row", idle), ("busy_row", busy)):
            table.add_row(self.word(name), str(found.count), f"{found.p50:.0f}", f"{found.p95:.0f}", f"{found.p99:.0f}")
        return table

    def _refusals(self, outcome: Outcome) -> Table:
        table = Table(title=self.word("refusals"), title_justify="left")
        for name in ("tried", "code", "hint"):
            table.add_column(self.word(name))
        for shown in outcome.refusals:
            tried = shown.tried if self.language == "en" else shown.tried_vi
            table.add_row(tried, f"{shown.status} {shown.code}" + ("" if shown.as_expected else " ✗"), shown.hint)
        return table

    def _evidence(self, outcome: Outcome) -> Table:
        verdict = outcome.verdict
        table = Table(title=self.word("evidence"), title_justify="left", show_header=False)
        table.add_column()
        table.add_column(overflow="fold")  # the root is to be compared, so none of it is left out
        table.add_row(self.word("exchanges"), f"{verdict.exchanges:,}")
        table.add_row(self.word("refused"), f"{verdict.refused:,}")
        table.add_row(self.word("entries"), f"{verdict.size:,}")
        table.add_row(self.word("witnessed"), f"{verdict.witnessed:,}")
        table.add_row(self.word("root"), verdict.root)
        answer = self.word("yes" if verdict.verified else "no")
        table.add_row(self.word("verified"), f"{answer} ({verdict.seconds:.1f} s)")
        table.add_row(self.word("memory"), f"{outcome.gateway_peak_mb:.0f} MB")
        table.add_row(self.word("seconds"), f"{outcome.seconds:.1f} s")
        return table


def as_json(outcome: Outcome) -> dict[str, Any]:
    """Return the outcome as one JSON object; milliseconds, seconds and megabytes as numbers."""
    counts, verdict = outcome.report, outcome.verdict
    return {
        "vessels": counts["vessels"],
        "linked": counts["linked"],
        "counted": outcome.tally.counted,
        "communes": outcome.tally.communes,
        "differing": list(outcome.tally.differing),
        "quarantined": counts["quarantined"],
        "by_reason": dict(sorted(counts["by_reason"].items())),
        "verifications": counts["verifications"],
        "lists": counts["lists"],
        "exchanges": verdict.exchanges,
        "refused": verdict.refused,
        "log_size": verdict.size,
        "witnessed": verdict.witnessed,
        "root": verdict.root,
        "verified": verdict.verified,
        "seconds": round(outcome.seconds, 3),
        "sync_seconds": round(outcome.sync_seconds, 3),
        "verify_seconds": round(verdict.seconds, 3),
        "gateway_peak_mb": round(outcome.gateway_peak_mb, 1),
        "lookup_ms": {"idle": _latency(outcome.idle), "busy": _latency(outcome.busy)},
        "refusals": [_refusal(shown) for shown in outcome.refusals],
    }


def _latency(found: Latency) -> dict[str, float]:
    return {"count": found.count, "p50": round(found.p50, 1), "p95": round(found.p95, 1), "p99": round(found.p99, 1)}


def _refusal(shown: Shown) -> dict[str, Any]:
    return {
        "tried": shown.tried,
        "status": shown.status,
        "code": shown.code,
        "expected": shown.expected,
        "hint": shown.hint,
    }
