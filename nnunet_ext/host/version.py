"""Which versions of nnU-Net this package runs on. The range itself stands in ``setup.cfg``, and there alone."""

from importlib.metadata import requires

from packaging.requirements import Requirement

DISTRIBUTION = "nnunetv2"


def needed_version() -> Requirement:
    """The range that this package was installed with.

    Raises:
        ModuleNotFoundError: This package is not installed, only its folder is on the path.
    """
    return next(need for need in map(Requirement, requires("nnunet_ext") or ()) if need.name == DISTRIBUTION)
