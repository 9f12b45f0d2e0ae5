"""Post-processing in nnU-Net's own form: functions that ``nnUNetv2_apply_postprocessing`` unpickles and calls.

nnU-Net calls each as ``function(segmentation, **kwargs)`` with the label map alone, so sizes are in voxels.
"""

from nnunet_ext.postprocessing.small_components import remove_small_components
from nnunet_ext.postprocessing.small_regions import replace_small_region

__all__ = ["remove_small_components", "replace_small_region"]
