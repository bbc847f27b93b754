"""The conversation with Paystack: its wire format, its answers sorted into a closed set, and the transport."""
