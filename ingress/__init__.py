"""The HTTP edge: checks requests, commits them with their jobs, and answers. Never calls Paystack or RabbitMQ."""
