"""A PostgreSQL server of one's own for tests, under the test kit's name; what it is stands in `lgsp.privatedatabase`."""

from lgsp.privatedatabase import PrivateDatabase, private_database

__all__ = ["PrivateDatabase", "private_database"]
