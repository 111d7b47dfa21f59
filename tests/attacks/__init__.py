"""Tests of the program's attacks on itself."""
