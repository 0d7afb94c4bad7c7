"""Adapters: one package for each system that a department connects to the bus."""
