"""The `lgsp` command: one module per group of commands."""
