"""The use cases: plain functions that make something true, runnable with Postgres and Paystack alone."""
