"""Use cases: what the bus does with envelopes, deliveries, the log and the directory."""
