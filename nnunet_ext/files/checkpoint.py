"""nnU-Net's checkpoints: their names, and what to do about those that cannot be read."""

from pathlib import Path

from nnunet_ext.errors import UserError

FINAL, LATEST, BEST = "checkpoint_final.pth", "checkpoint_latest.pth", "checkpoint_best.pth"
CHECKPOINTS = (FINAL, LATEST, BEST)  # in the order in which nnU-Net's --c looks for them


class UnreadableCheckpointError(UserError):
    """A checkpoint that is truncated or no checkpoint."""


def check_readable(file: str | Path) -> None:
    """Raise if a checkpoint cannot be read.

    Args:
        file: A checkpoint that nnU-Net wrote.

    Raises:
        UnreadableCheckpointError: It is truncated or no checkpoint; the message names one of the folder that can be
            read.
        FileNotFoundError: It does not exist.
    """
    try:
        _read(file)
    except FileNotFoundError:
        raise
    except Exception as error:  # PyTorch raises errors of many types for a truncated file
        others = [other for name in CHECKPOINTS if (other := Path(file).with_name(name)) != Path(file)]
        readable = [other.name for other in others if _is_readable(other)]
        advice = (
            f"Use {readable[0]} instead: rename {Path(file).name}, then run the command with --c again."
            if readable
            else "No other checkpoint in this folder can be read: train again without --c."
        )
        raise UnreadableCheckpointError(f"{file} cannot be read ({type(error).__name__}: {error}). {advice}") from error


def _is_readable(file: Path) -> bool:
    try:
        _read(file)
    except Exception:
        return False
    return True


def _read(file: str | Path) -> None:
    import torch  # here, as commands that need the names alone must not wait for it

    # as nnU-Net reads it: its checkpoints hold plain objects beside tensors
    torch.load(file, map_location="cpu", weights_only=False)
