"""What lies on a RabbitMQ server: its queues, the ways to and from them, and the ladder of delays."""

from reinhardt_tasks.backends.rabbitmq.config import DeliveryMode, RabbitMQConfig

__all__ = ["DeliveryMode", "RabbitMQConfig"]
