"""What the bus would say about an envelope: the steps of protocol section 4, and at which of them a refusal is found.

The checks are `admission`'s, what was computed on the way is `diagnosis`'.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from lgsp.domain.admission import Refused
from lgsp.domain.diagnosis import Found
from lgsp.errors import Language, Refusal

Verdict = Literal["accepted", "known", "refused"]
"""What the bus would do: accept it, give the first receipt again, or refuse it."""

STEPS: Final[tuple[dict[Language, str], ...]] = (
    {"en": "sizes", "vi": "kích thước"},
    {"en": "form and base64url", "vi": "dạng và base64url"},
    {"en": "protected header", "vi": "phần đầu được bảo vệ"},
    {"en": "kind of object", "vi": "loại đối tượng"},
    {"en": "key is registered, in force and of the right role", "vi": "khóa đã đăng ký, còn hiệu lực, đúng vai trò"},
    {"en": "algorithm is the key's", "vi": "thuật toán đúng với khóa"},
    {"en": "signature", "vi": "chữ ký"},
    {"en": "manifest", "vi": "bản kê"},
    {"en": "the key may sign for the source", "vi": "khóa được ký thay cho nguồn"},
    {"en": "size and hash of the body", "vi": "kích thước và mã băm của nội dung"},
    {"en": "not seen before", "vi": "chưa từng gửi"},
    {"en": "times", "vi": "thời gian"},
    {"en": "route and grant", "vi": "đường đi và quyền"},
    {"en": "body and schema", "vi": "nội dung và lược đồ"},
)
"""The steps of protocol section 4, 1 to 14."""

READ_STEP: Final = {
    "too_large": 1, "structured": 2, "compact": 2, "base64": 2, "header_template": 3, "typ": 4, "kid_unknown": 5, "key_role": 5,
    "key_not_valid": 5, "alg_mismatch": 6, "signature": 7, "json": 8, "manifest": 8, "unsupported": 8, "source_not_owned": 9, "datahash": 10,
}  # fmt: skip
JUDGE_STEP: Final = {
    "clock_ahead": 12, "expired": 12, "life_too_long": 12, "body_json": 14, "body_nfc": 14, "schema_unknown": 14, "schema": 14,
    "schema_unusable": 14, "too_large": 14,
}  # fmt: skip
LOOK_UP: Final = 11
ROUTE_AND_GRANT: Final = 13
"""Where every other refusal of `judge` belongs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What the bus would say: the step at which it ends, with its refusal, the exchange it is known as, or the rule that allows it."""

    verdict: Verdict
    step: int
    """The last step that was gone through, 1 to 14."""
    env: str = ""
    refusal: Refusal | None = None
    rule: str = ""

    def told(self, computed: Found, language: Language) -> dict[str, Any]:
        """Return the members of the answer: the verdict, each step that was gone through, the problem, and what was computed."""
        members: dict[str, Any] = {"verdict": self.verdict, "env": self.env, "step": self.step}
        members["steps"] = [
            {"step": number, "title": title[language], "holds": self.refusal is None or number < self.step}
            for number, title in enumerate(STEPS[: self.step], start=1)
        ]
        if self.rule:
            members["rule"] = self.rule
        if self.refusal is not None:
            members["problem"] = self.refusal.problem(language)
        return members | {"computed": computed}


def unread(refusal: Refusal) -> Opinion:
    """Return the opinion on what is no envelope in structured form."""
    return Opinion(verdict="refused", step=READ_STEP[refusal.code], refusal=refusal)


def refused_reading(refused: Refused) -> Opinion:
    """Return the opinion on what `admission.read` refused."""
    return _refused(refused, READ_STEP[refused.refusal.code])


def refused_judging(refused: Refused) -> Opinion:
    """Return the opinion on what `admission.judge` refused."""
    return _refused(refused, JUDGE_STEP.get(refused.refusal.code, ROUTE_AND_GRANT))


def _refused(refused: Refused, step: int) -> Opinion:
    return Opinion(verdict="refused", step=step, env=refused.env, refusal=refused.refusal)
