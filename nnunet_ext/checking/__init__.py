"""Images before a prediction or a training: ``nnunet_ext check``."""
