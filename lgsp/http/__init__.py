"""The aiohttp edge: one module per group of calls; it parses, authenticates and answers, and decides nothing."""
