"""The rules of Payfleet, pure: no input, no output, no clock of their own."""
