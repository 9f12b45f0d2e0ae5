"""Memory and arithmetic of a network, counted without a GPU; torch only."""
