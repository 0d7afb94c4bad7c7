"""`lgsp backup`: copies of a ledger that prove themselves, and what a restored one has lost."""
