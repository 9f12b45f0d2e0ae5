"""Cases without some of their modalities: completing folders, and what a model makes of every subset."""
