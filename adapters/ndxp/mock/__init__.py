"""The mock of the national platform: a program of its own with a token endpoint and the population service, and on request a witness of logs.

It knows the made-up citizens alone and listens on loopback alone. On disk it keeps what it has witnessed, and nothing else.
"""
