"""Imported once by the server that the test parties are forked from."""
