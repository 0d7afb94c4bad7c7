"""What can go wrong for a program on the bus, and what an adapter raises to say what should follow.

LgspError
├── ClientError            a call of the client did not reach its end
│   ├── Refused            the bus or the receiver said no, with a code
│   ├── Unreachable        no gateway was reached in time; what is in the outbox goes out when one is
│   ├── OutcomeUnknown     it may have arrived, no word of it in time; the outbox goes on
│   └── Closed             the client was closed before or meanwhile
└── AdapterError           raised by an adapter, acted on by the runner
    ├── NotReady           the system behind it does not answer yet: try again later
    │   └── AuthFailed     it answers, and does not accept the adapter's credentials
    ├── ConfigInvalid      settings that no waiting mends: the runner ends
    ├── Reject             this message is wrong: say so to its sender, for good
    └── Retry              this message later
"""

from __future__ import annotations

import re
from typing import Any, Final

from lgsp.errors import LgspError, Refusal

CODE_FORM: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
POINTER_FORM: Final = re.compile(r"(?:/(?:\d{1,6}|[A-Za-z][A-Za-z0-9_]{0,63}|\*)){0,32}")


class ClientError(LgspError):
    """A call of the client did not reach its end."""


class Refused(ClientError):
    """The bus or the receiver said no; `code` is stable, `pointer` a JSON pointer into manifest or body."""

    def __init__(self, code: str, detail: str = "", *, pointer: str = "", retryable: bool = False) -> None:
        self.code = code
        self.detail = detail
        self.pointer = pointer
        self.retryable = retryable
        super().__init__(f"{code}{' at ' + pointer if pointer else ''}{': ' + detail if detail else ''}")

    @classmethod
    def of(cls, refusal: Refusal) -> Refused:
        """Return a refusal found on this side in the form in which the bus's own are raised."""
        return cls(refusal.code, refusal.detail, pointer=refusal.pointer, retryable=refusal.entry.retryable)

    @classmethod
    def of_problem(cls, problem: dict[str, Any]) -> Refused:
        """Return the refusal of a problem as the gateway writes it (RFC 9457)."""
        detail = problem.get("detail") or problem.get("title") or ""
        return cls(
            str(problem.get("code", "internal")),
            str(detail),
            pointer=str(problem.get("pointer", "")),
            retryable=problem.get("retryable") is True,
        )


class Unreachable(ClientError):
    """No gateway was reached in time; what was put into the outbox goes out when one is."""

    def __init__(self, id: str = "") -> None:  # noqa: A002 - the envelope's attribute has this name
        self.id = id
        super().__init__("no gateway was reached in time")


class OutcomeUnknown(ClientError):
    """No word of what became of envelope `id` in time; the outbox goes on, and `outcome(id)` can be asked later."""

    def __init__(self, id: str) -> None:  # noqa: A002 - the envelope's attribute has this name
        self.id = id
        super().__init__(f"no word of {id} in time; it stays in the outbox")


class Closed(ClientError):
    """The client was closed before the call, or while it waited; what is in the outbox stays there."""


class AdapterError(LgspError):
    """Raised by an adapter; what follows is the runner's part."""

    code = "failed"


class NotReady(AdapterError):
    """The system behind the adapter does not answer yet; `after` seconds is when to ask again."""

    code = "not_ready"

    def __init__(self, after: float | None = None) -> None:
        self.after = after
        super().__init__(self.code)


class AuthFailed(NotReady):
    """The system behind the adapter does not accept its credentials: somebody has to act, the runner keeps asking."""

    code = "auth_failed"


class ConfigInvalid(AdapterError):
    """A setting that no waiting mends; `problem` is made of names of settings, never of their values."""

    code = "config_invalid"

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(problem)


class Reject(AdapterError):
    """This message is wrong and stays wrong: its sender is told `code` and `pointer`, signed.

    Both are names: a code of lower case letters, digits and underscores, and a JSON pointer of member names and positions. Anything else is
    a `ValueError`, so that no value out of a body leaves this way.
    """

    def __init__(self, code: str, pointer: str = "") -> None:
        if CODE_FORM.fullmatch(code) is None or POINTER_FORM.fullmatch(pointer) is None:
            raise ValueError("a rejection has a code like owner_unknown and a pointer like /rows/3/birthDate")
        self.code = code
        self.pointer = pointer
        super().__init__(code, pointer)


class Retry(AdapterError):
    """This message later, in `after` seconds or when the bus thinks fit; it is parked when it has failed too often."""

    def __init__(self, after: float | None = None, *, code: str = "retry") -> None:
        if CODE_FORM.fullmatch(code) is None:
            raise ValueError("a code is made of lower case letters, digits and underscores")
        self.code = code
        self.after = after
        super().__init__(code)
