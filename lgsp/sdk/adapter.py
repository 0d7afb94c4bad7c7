"""What an adapter is: a class with handlers by message type, and a few methods that the runner calls.

    class Police(Adapter):
        @handles("vn.lgsp.fisheries.owner-list.complete.v1")
        async def complete(self, message: Message) -> None:
            async with message.effect() as effect:
                effect.reply(self.answer(message.body))

What becomes of the exceptions that it raises is `runner`'s.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from lgsp.sdk.client import Client
from lgsp.sdk.errors import Retry
from lgsp.sdk.manifest import AdapterManifest, AdapterSettings
from lgsp.sdk.message import Failure, Message

MARK: Final = "lgsp_handles"
Handler = Callable[[Message], Awaitable[None]]
F = TypeVar("F", bound=Callable[..., Awaitable[None]])


def handles(*types: str) -> Callable[[F], F]:
    """Mark a method as the handler of these message types."""

    def marked(method: F) -> F:
        setattr(method, MARK, types)
        return method

    return marked


class Adapter:
    """A department's system on the bus; each method may raise `NotReady`, `AuthFailed`, `ConfigInvalid`."""

    def __init__(self, *, client: Client, manifest: AdapterManifest, settings: AdapterSettings) -> None:
        self.client = client
        self.manifest = manifest
        self.settings = settings

    async def check(self) -> None:
        """Make ready and return once the system behind answers; called again and again until then, before any message."""

    async def pull(self) -> None:
        """Look for work on this side; called every `pull_every` seconds of the manifest, never twice at once."""

    async def close(self) -> None:
        """Let go of what `check` took hold of."""

    async def recover(self, message: Message) -> None:  # noqa: ARG002 - for those that override it
        """Deal with a message whose outside effect had begun when the adapter stopped, in place of its handler.

        Whoever uses `effect(outside=True)` decides here, by asking the system behind whether the effect took place. As it is, the message is
        put back until the bus parks it for an operator.
        """
        raise Retry(code="uncertain")

    async def failed(self, failure: Failure) -> None:
        """Act on an envelope of the adapter's own that was refused, rejected, parked or expired and that no call waits for."""
        async with failure.effect():
            pass  # the client has logged it; nothing else follows unless an adapter says so


def handlers_of(adapter: Adapter) -> dict[str, Handler]:
    """Return the handlers by message type."""
    return {type_: handler for handler in _marked(adapter) for type_ in getattr(handler, MARK)}


def handled_types(found: type[Adapter]) -> list[str]:
    """Return the message types that a class has handlers for; one that has two stands twice."""
    methods = {name: getattr(found, name) for name in dir(found)}
    return [type_ for method in methods.values() for type_ in getattr(method, MARK, ())]


def _marked(adapter: Adapter) -> list[Any]:
    methods = (getattr(adapter, name) for name in dir(type(adapter)))
    return [method for method in methods if hasattr(method, MARK)]
