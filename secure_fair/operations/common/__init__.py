"""Things that operations share: how one is asked for, what it is to its callers, what stays between requests."""
