"""The mock of the national platform: a program of its own with a token endpoint and the population service.

It knows the made-up citizens alone, listens on loopback alone and keeps nothing on disk.
"""
