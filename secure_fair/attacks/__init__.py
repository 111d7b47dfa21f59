"""Attacks on the protocol, one file each."""
