"""What the operations share: how one is asked for, what it is to its callers, and what stays on shares between them."""
