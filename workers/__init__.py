"""The processes around RabbitMQ: how and when the use cases of `jobs` are run."""
