"""What saved probabilities say about themselves: maps, cases to look at, and temperatures that calibrate them."""
