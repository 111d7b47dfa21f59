"""The secure engine: CrypTen arithmetic on randomness, correlated randomness and links of our own."""
