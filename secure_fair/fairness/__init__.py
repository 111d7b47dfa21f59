"""Group-fairness metrics from counts."""
