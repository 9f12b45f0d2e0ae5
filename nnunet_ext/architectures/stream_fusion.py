"""How the streams of a multi-modal encoder meet: what the master's next block reads and what the decoder reads."""

from collections.abc import Sequence
from math import ceil
from typing import Literal, NamedTuple

import torch
from torch import Tensor

WIDTH_MULTIPLE = 4

Join = Literal["master", "add", "concatenate"]


def join(streams: Sequence[Tensor], how: Join) -> Tensor:
    """One feature map of the streams of a level.

    Args:
        streams: Features of each stream, ``(B, C, *spatial)``, the master first.
        how: ``"master"``: the master's features alone; ``"add"``: the sum; ``"concatenate"``: all of them along the
            channels, the master first.
    """
    if how == "master" or len(streams) == 1:
        return streams[0]
    if how == "concatenate":
        return torch.cat(list(streams), dim=1)
    total = streams[0]
    for assistant in streams[1:]:
        total = total + assistant
    return total


def joined_channels(width: int, n_streams: int, how: Join) -> int:
    """Channels of ``n_streams`` feature maps of ``width`` channels each after :func:`join`."""
    return width * n_streams if how == "concatenate" else width


def stream_widths(widths: Sequence[int], n_streams: int) -> list[int]:
    """Widths of one of ``n_streams`` streams that share the widths of the decoder.

    With two streams it is half of them (Sec. 2). For more it is ``1 / n``, rounded up to a multiple of
    :data:`WIDTH_MULTIPLE` (not stated: our choice, so that the decoder stays about the U-Net's).
    """
    if n_streams == 1:
        return list(widths)
    return [ceil(width / n_streams / WIDTH_MULTIPLE) * WIDTH_MULTIPLE for width in widths]


class FusionRule(NamedTuple):
    """One row of Fig. 1b. Assistants always read their own features alone.

    Attributes:
        master_reads: What the master's block of the next level reads.
        decoder_reads: What the decoder reads of a level above the deepest.
        decoder_reads_deepest: What the decoder reads of the deepest level.
    """

    master_reads: Join
    decoder_reads: Join
    decoder_reads_deepest: Join


FUSION_RULES = {
    # LateFuseUNet, FuseNetConcate, and every network of one stream.
    "separate": FusionRule("master", "concatenate", "concatenate"),
    # FuseNet: the assistants' features are added to the master's before each pooling.
    "add": FusionRule("add", "add", "add"),
    # FuseOriginUNet. The assistants' deepest block is in Table 1's count, yet the decoder's is too small to read it by
    # concatenation; added, it has an effect (and a gradient) without a parameter.
    "concatenate_to_master": FusionRule("concatenate", "master", "add"),
    # FuseUNet, FuseUNet + SA, and the proposed network.
    "concatenate": FusionRule("concatenate", "concatenate", "concatenate"),
}
