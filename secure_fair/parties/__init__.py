"""Who does what: developer, auditor and dealer."""
