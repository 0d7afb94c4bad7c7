"""Bearer tokens of the mock, in memory."""

import secrets
from collections.abc import Callable


class Tokens:
    """Issues tokens that live `lifetime` seconds by a clock that never goes back."""

    def __init__(self, *, lifetime: float, clock: Callable[[], float]) -> None:
        self.lifetime = lifetime
        self._clock = clock
        self._expiries: dict[str, float] = {}

    def issue(self) -> str:
        """Return a new token; expired ones are forgotten."""
        now = self._clock()
        self._expiries = {token: expiry for token, expiry in self._expiries.items() if expiry > now}
        token = secrets.token_urlsafe(32)
        self._expiries[token] = now + self.lifetime
        return token

    def is_valid(self, token: str) -> bool:
        """Tell whether the token was issued here and has not expired."""
        return self._expiries.get(token, 0.0) > self._clock()
