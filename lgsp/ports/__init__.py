"""What the bus needs of the world, as Protocols; every backend keeps the same promises, held by one contract suite per port."""
