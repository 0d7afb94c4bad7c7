"""A RabbitMQ server of one's own for tests, under the test kit's name; what it is stands in `lgsp.privatebroker`."""

from lgsp.privatebroker import PrivateServer, free_port, private_server

__all__ = ["PrivateServer", "free_port", "private_server"]
