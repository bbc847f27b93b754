"""What stands in for the servers Payfleet was not given: launched, watched and stopped from here."""
