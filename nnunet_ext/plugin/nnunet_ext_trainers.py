"""Re-exports the trainers for nnU-Net, which imports every module in the folders that nnUNet_extTrainer names."""

from nnunet_ext.trainers import TRAINERS

# one name a trainer, since nnU-Net asks each module for an attribute with the trainer's name
globals().update({trainer.__name__: trainer for trainer in TRAINERS})
