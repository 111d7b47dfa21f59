"""Tests of the parties, each its own process."""
