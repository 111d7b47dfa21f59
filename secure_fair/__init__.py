"""Fair vision transformers trained without seeing the attributes by which fairness is judged."""
