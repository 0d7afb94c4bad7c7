"""The bridge to the national data exchange platform (NDXP): the population service behind it."""
