"""`python -m scenarios.cli` is `secure-fair`."""

from scenarios.cli.main import main

main(prog_name="secure-fair")
