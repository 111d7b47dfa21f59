"""Measuring the secure engine beside stock CrypTen, on the same machine in the same minutes."""
