"""`python -m ops` is the `payfleet` command."""

from ops.cli import main

main()
