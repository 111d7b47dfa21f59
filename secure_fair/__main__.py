"""`python -m secure_fair` is `secure-fair`."""

from secure_fair.scenarios.cli.main import main

main(prog_name="secure-fair")
