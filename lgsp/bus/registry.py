"""The directory in force, with its contracts: an immutable snapshot that is replaced as a whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from lgsp.domain.contracts import Contracts
from lgsp.domain.directory import Directory, empty_directory, open_directory
from lgsp.domain.keys import PublicKey
from lgsp.errors import Refusal
from lgsp.ports.directory import DirectoryStore, SignedRecords

OnChange = Callable[[Directory], None]


@dataclass(slots=True, kw_only=True)
class Registry:
    """Holds the snapshot that every decision is taken on."""

    store: DirectoryStore
    bus: str
    registrar: PublicKey
    """The pin: directories of any other key are refused."""
    current: Directory = field(init=False)
    contracts: Contracts = field(init=False)
    documents: dict[str, bytes] = field(init=False, default_factory=dict)
    _listeners: list[OnChange] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.current = empty_directory(self.bus)
        self.contracts = Contracts({})

    async def reload(self) -> Directory:
        """Take over the stored head after verifying it under the pin; tell the listeners when it is new. Nothing is read of one that is not."""
        if await self.store.head_version() <= self.current.version:
            return self.current
        head = await self.store.head()
        if head is None or head.version <= self.current.version:
            return self.current
        directory = open_directory(head.statement, head.records, self.registrar, bus=self.bus)
        documents = await self.store.documents()
        if head.version <= self.current.version:  # another reload was quicker: the directory never goes back
            return self.current
        self.documents = documents
        self.contracts = Contracts({urn: documents[urn] for urn in directory.schemas if urn in documents})
        self.current = directory
        for listener in list(self._listeners):
            listener(directory)
        return directory

    async def signed(self, version: int | None = None) -> SignedRecords:
        """Return a version as stored, the present one by default; refuse as `not_found`."""
        found = await (self.store.head() if version is None else self.store.at(version))
        if found is None:
            raise Refusal("not_found", "there is no such version of the directory")
        return found

    def on_change(self, listener: OnChange) -> Callable[[], None]:
        """Call the listener with each new directory; return what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)
