"""`lgsp directory` and what else changes it."""
