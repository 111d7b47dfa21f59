"""Things that attacks share: their interface, bounds from what they win, an auditor to ask, lies."""
