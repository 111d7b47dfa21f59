"""Programs of the project's makers, run from a checkout as `python -m tools.NAME`; no part of the distribution."""
