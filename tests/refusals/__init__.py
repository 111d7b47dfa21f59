"""Bad input of every kind, as cases of one test (``tests/test_refusals.py``), by what is wrong."""
