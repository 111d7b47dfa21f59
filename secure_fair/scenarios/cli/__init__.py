"""The command line."""

from secure_fair.scenarios.cli.main import main

__all__ = ["main"]
