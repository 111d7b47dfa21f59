"""Tests of the secure engine."""
