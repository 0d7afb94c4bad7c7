"""What a breach is counted by: each exchange once, each reading of a body once, each person once."""

import sqlite3
from contextlib import closing

from lgsp.cli.audit.impact import Count


def test_an_exchange_counts_once_and_reading_its_body_counts_beside_it():
    with closing(sqlite3.connect("")) as noted:
        count = Count(noted)
        events = ["msg.accepted", "msg.delivered", "audit.read", "admin.parked.read", "audit.read"]
        assert [count.is_new(event, "env") for event in events] == [True, False, True, False, False]
        assert count.exchanges == 2
