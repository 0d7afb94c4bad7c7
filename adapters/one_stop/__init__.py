"""The one-stop office of a commune: verifies applicants and answers lists of vessel owners."""
