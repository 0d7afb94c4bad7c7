"""A RabbitMQ server of one's own for tests, under the test kit's name; what it is stands in `lgsp.privatebroker`."""

from lgsp.privatebroker import PrivateServer, private_server
from lgsp.privateserver import free_port

__all__ = ["PrivateServer", "free_port", "private_server"]
