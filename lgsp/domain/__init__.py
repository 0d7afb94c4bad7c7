"""Values and decisions: no await, clock, randomness, network or database."""
