"""What a plans file says: the network's entry, settings, modalities by name."""
