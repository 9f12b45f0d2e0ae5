"""Trained models' folders: reading, stripping, looking into them."""
