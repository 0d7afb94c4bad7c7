"""An adapter that keeps notes as the receiving program does, run by `lgsp adapter run`."""

from lgsp.sdk import Adapter, Message, handles
from tests.bench.made_up import ASKED, IN_BULK, ONE_WAY
from tests.chaos.receiver import TABLE, take_over


class Keeper(Adapter):
    """Notes in the adapter's box."""

    async def check(self) -> None:
        """Make the table."""
        await self.client.write(lambda tables: tables.execute(TABLE))

    @handles(ONE_WAY)
    async def tell(self, message: Message) -> None:
        """Keep a note."""
        await _keep(message)

    @handles(IN_BULK)
    async def gather(self, message: Message) -> None:
        """Keep a note of many."""
        await _keep(message)

    @handles(ASKED)
    async def ask(self, message: Message) -> None:
        """Keep a note and answer."""
        await _keep(message)


async def _keep(message: Message) -> None:
    async with message.effect() as effect:
        take_over(message, effect)
