"""Values and decisions of the bus: no await, clock, randomness, network or database."""
