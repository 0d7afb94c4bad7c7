"""The provincial police on the bus: completes lists of vessel owners from what it knows."""

import asyncio
from typing import Final

from adapters.police.mapping import owner_list_reply
from adapters.police.records import known_numbers
from lgsp.sdk import Adapter, Message, handles

OWNER_LIST: Final = "vn.lgsp.fisheries.owner-list.complete.v1"


class Police(Adapter):
    """Owners' numbers by registration, in memory."""

    async def check(self) -> None:
        """Bring the records into memory."""
        settings = self.settings
        self._known = await asyncio.to_thread(known_numbers, settings.integer("seed"), settings.integer("count"))

    @handles(OWNER_LIST)
    async def complete(self, message: Message) -> None:
        """Answer a list."""
        async with message.effect() as effect:
            effect.reply(owner_list_reply(message.body, self._known))
