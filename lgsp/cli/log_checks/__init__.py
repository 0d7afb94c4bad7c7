"""The check of a whole log against everything that was signed about it."""
