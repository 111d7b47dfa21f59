"""The command line."""

from scenarios.cli.main import main

__all__ = ["main"]
