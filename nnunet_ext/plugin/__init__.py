"""The folder that ``nnunet_ext path`` prints; nnU-Net imports every module in it."""
