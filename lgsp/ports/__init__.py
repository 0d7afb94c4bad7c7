"""Protocols that the bus asks of its surroundings; the backends keep them."""
