"""RabbitMQ as carrier: a quorum queue for each inbox and lane, confirmed publishing, consumers while somebody takes."""

from lgsp.backends.rabbitmq.transport import Pace, RabbitTransport

__all__ = ["Pace", "RabbitTransport"]
