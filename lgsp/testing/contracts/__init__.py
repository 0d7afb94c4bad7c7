"""One suite of promises per port, to be inherited by every backend's tests.

    class TestLedger(LedgerContract):
        @pytest.fixture
        async def ledger(self): ...   # an empty store

The suites for rows take a fixture `ledger`, the one for carriers a fixture `transport` over the same `ledger`, the one for restarts a fixture
`reopen`, the one for gateways beside each other a fixture `join`, the one for witnesses a fixture `anchor`. Have their
assertions explained with `pytest.register_assert_rewrite("lgsp.testing.contracts")`.
"""

from lgsp.testing.contracts.anchor import AnchorContract
from lgsp.testing.contracts.bodies import BodiesContract
from lgsp.testing.contracts.directory import DirectoryStoreContract
from lgsp.testing.contracts.durability import DurabilityContract
from lgsp.testing.contracts.inboxes import InboxesContract
from lgsp.testing.contracts.ledger import LedgerContract
from lgsp.testing.contracts.ledger_moves import LedgerMovesContract
from lgsp.testing.contracts.neighbours import NeighboursContract
from lgsp.testing.contracts.persons import PersonsContract
from lgsp.testing.contracts.retention import RetentionContract
from lgsp.testing.contracts.search import SearchContract
from lgsp.testing.contracts.transport import TransportContract

__all__ = [
    "AnchorContract",
    "BodiesContract",
    "DirectoryStoreContract",
    "DurabilityContract",
    "InboxesContract",
    "LedgerContract",
    "LedgerMovesContract",
    "NeighboursContract",
    "PersonsContract",
    "RetentionContract",
    "SearchContract",
    "TransportContract",
]
