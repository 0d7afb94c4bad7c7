"""The command `lgsp`: reads arguments, prints results; the work is left to the layers below."""
