"""What people who run Payfleet touch: the command, the embedded stack, the console."""
