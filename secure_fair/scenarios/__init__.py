"""Runs: scenario files, the launcher and the command line."""
