"""The HTTP and WebSocket edge: turns requests into calls of the bus and its answers into responses."""
