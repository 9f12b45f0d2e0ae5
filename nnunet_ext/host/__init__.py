"""What this package takes from inside nnU-Net and PyTorch, each under a name that says what for, and which versions."""
