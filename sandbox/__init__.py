"""An offline Paystack: its HTTP API, its checkout page and its webhooks, with faults on demand."""
