"""All that an adapter or a department's program imports."""
