"""Images in nnU-Net's format: read with its own readers, compared in place, and what is wrong with those of a case."""
