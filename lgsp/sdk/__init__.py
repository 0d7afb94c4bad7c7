"""All that an adapter or a department's own program imports."""
