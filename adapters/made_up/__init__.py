"""The made-up province: people, names and vessels that exist nowhere, the same from the same seed.

Every number lies in the range reserved for made-up people. The communes alone are real.
"""
