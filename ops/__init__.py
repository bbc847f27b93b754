"""What people who run Payfleet touch: the `payfleet` command and the embedded stack."""
