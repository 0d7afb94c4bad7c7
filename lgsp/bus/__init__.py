"""Use cases of the gateway, written against the ports; technology is left to the backends."""
