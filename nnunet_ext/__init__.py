"""Four published methods for multi-modal MR segmentation as trainers for nnU-Net v2.

The functions of :data:`__all__` are imported when they are asked for, so that ``import nnunet_ext`` takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nnunet_ext.evaluation.evaluate import evaluate_folders as evaluate
    from nnunet_ext.missing_modalities.complete import complete_folder as complete
    from nnunet_ext.missing_modalities.subset_scores import score_subsets as subsets
    from nnunet_ext.trained.loaded_model import PredictionChoices

__version__ = "0.1.0"
__all__ = ["PredictionChoices", "__version__", "complete", "evaluate", "subsets"]

_PLACES = {
    "evaluate": ("evaluation.evaluate", "evaluate_folders"),
    "complete": ("missing_modalities.complete", "complete_folder"),
    "subsets": ("missing_modalities.subset_scores", "score_subsets"),
    "PredictionChoices": ("trained.loaded_model", "PredictionChoices"),
}


def __getattr__(name: str) -> Any:
    """Public function of another module, imported now."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, function = _PLACES[name]
    return getattr(import_module(f"{__name__}.{module}"), function)
