"""The floor: the same crypto, parsing, schema, sealing, durable writes and confirms as the bus, as plainly as three processes can do it.

No grants, leases, retries, directory, fairness, metrics: what the bus costs beyond this is what those cost, and how well it is written.
"""
