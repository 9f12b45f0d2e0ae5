"""Networks of the four methods. They need torch and dynamic_network_architectures only, not nnU-Net.

nnU-Net's plans name a network by this package's path (``nnunet_ext.architectures.ModalityPairingUNet``), so trained
models keep loading when a file moves.
"""

from nnunet_ext.architectures.attention_fusion import AttentionFusionUNet
from nnunet_ext.architectures.bifpn import BiFPNet
from nnunet_ext.architectures.group_norm import GroupNorm
from nnunet_ext.architectures.host_unet import HostUNet
from nnunet_ext.architectures.modality_pairing import ModalityPairingUNet
from nnunet_ext.architectures.nested_unet import NestedUNet
from nnunet_ext.architectures.network_output import NetworkOutput
from nnunet_ext.architectures.segresnet_vae import SegResNetVAE
from nnunet_ext.architectures.slice_classifier import SliceClassifier, SliceOutput, gate_logits

__all__ = [
    "AttentionFusionUNet",
    "BiFPNet",
    "GroupNorm",
    "HostUNet",
    "ModalityPairingUNet",
    "NestedUNet",
    "NetworkOutput",
    "SegResNetVAE",
    "SliceClassifier",
    "SliceOutput",
    "gate_logits",
]
