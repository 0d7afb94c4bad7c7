"""Departments' systems, one package each; they import `lgsp.sdk` alone."""
