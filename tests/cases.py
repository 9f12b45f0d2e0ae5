"""Old names of what is in nnunet_ext.testing, until the last test has moved."""

from nnunet_ext.testing import CHANNELS, LABELS, Case, make_batch
from nnunet_ext.testing import make_trainer as _make_trainer

__all__ = ["CHANNELS", "LABELS", "Case", "make_batch", "make_trainer"]


def make_trainer(trainer_class, case, folder, monkeypatch, plans=None, scaler=False):
    """As nnunet_ext.testing.make_trainer."""
    return _make_trainer(trainer_class, case, folder, plans=plans, scaler=scaler)
