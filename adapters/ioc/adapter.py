"""The operations centre on the bus: subscribes to events of departments and keeps counts of what they tell."""

from typing import Any, Final

from adapters.ioc import figures
from adapters.ioc.mapping import linked_vessel
from lgsp.sdk import Adapter, AdapterManifest, AdapterSettings, Client, Message, get_logger, handles

LINKED: Final = "vn.lgsp.fisheries.vessel.linked.v1"


class OperationsCentre(Adapter):
    """One centre and its figures."""

    def __init__(self, *, client: Client, manifest: AdapterManifest, settings: AdapterSettings) -> None:
        super().__init__(client=client, manifest=manifest, settings=settings)
        self._name = f"{manifest.system.agency}/{manifest.system.name}"
        self._told: dict[str, Any] | None = None

    async def check(self) -> None:
        """Make the tables."""
        await self.client.write(figures.prepare)

    async def pull(self) -> None:
        """Tell the figures when they have changed."""
        counts = figures.counts(self.client.read)
        if counts != self._told:
            get_logger().info("adapter.report", system=self._name, counts=counts)
            self._told = counts

    @handles(LINKED)
    async def count(self, message: Message) -> None:
        """Count the vessel in."""
        async with message.effect() as effect:
            vessel = linked_vessel(message.body)
            effect.run(lambda own: figures.count(own, vessel))
