"""Peak memory and time of ``nnunet_ext uncertainty`` and ``apply-calibration`` for one case of BraTS's size.

Makes members with three regions on 240 x 240 x 155 voxels and runs each command in a process of its own; the peak is
the largest resident set of the process, less the largest that it had while importing.

    python benchmarks/uncertainty_memory.py --output benchmarks/results/uncertainty_memory_cpu.json
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import SimpleITK
from scipy.ndimage import zoom
from scipy.special import expit

SHAPE = (155, 240, 240)
DATASET = {
    "channel_names": {"0": "T1"},
    "labels": {"background": 0, "whole tumor": [1, 2, 3], "tumor core": [1, 3], "enhancing tumor": [3]},
    "regions_class_order": [2, 1, 3],
    "numTraining": 1,
    "file_ending": ".nii.gz",
}
RADII = (45, 30, 18)  # voxels, of the regions, one inside of the other


def write_member(folder: Path, seed: int) -> None:
    """Three nested balls with a border that differs between members."""
    generator = np.random.default_rng(seed)
    axes = np.ogrid[tuple(slice(-(size // 2), size - size // 2) for size in SHAPE)]
    distance = np.sqrt(sum(np.asarray(axis, np.float32) ** 2 for axis in axes))
    coarse = generator.normal(scale=4, size=tuple(-(-size // 20) for size in SHAPE))
    bumps = zoom(coarse.astype(np.float32), 20, order=1)[tuple(slice(size) for size in SHAPE)]
    probabilities = np.stack([expit((radius - distance + bumps) / 3) for radius in RADII]).astype(np.float32)
    labels = np.zeros(SHAPE, np.uint8)
    for channel, value in zip(probabilities, DATASET["regions_class_order"], strict=True):
        labels[channel > 0.5] = value
    folder.mkdir()
    (folder / "dataset.json").write_text(json.dumps(DATASET))
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(labels), str(folder / "case.nii.gz"))
    np.savez_compressed(folder / "case.npz", probabilities=probabilities)
    (folder / "case.pkl").write_bytes(b"")


def measure(command: str, root: Path, members: int) -> dict[str, float]:
    """Run one command in this process, and say what it took."""
    from nnunet_ext.host.data import image_readers
    from nnunet_ext.uncertainty.apply_calibration import calibrate_case
    from nnunet_ext.uncertainty.estimate import estimate_uncertainty
    from nnunet_ext.uncertainty.members import read_member

    folders = [root / f"member_{index}" for index in range(members)]
    image_readers(DATASET)  # imports nnU-Net
    before, start = _resident(), time.monotonic()
    if command == "uncertainty":
        estimate_uncertainty(folders, root / f"maps_{members}", num_processes=1)
    else:
        member = read_member(folders[0])
        calibrate_case(member.cases["case"], [1.5, 1.5, 1.5], root, member.labels)
    return {"peak_mb": (_resident() - before) / 1024, "seconds": time.monotonic() - start}


def _resident() -> int:
    """Kilobytes that this process had in memory at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    """Make the members, measure each command in a process, and store what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("--measure", nargs=3, metavar=("COMMAND", "FOLDER", "MEMBERS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        command, folder, members = arguments.measure
        print(json.dumps(measure(command, Path(folder), int(members))))
        return
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for index in range(5):
            write_member(root / f"member_{index}", index)
        rows = []
        for command, members in (("uncertainty", 1), ("uncertainty", 5), ("apply-calibration", 1)):
            call = [sys.executable, __file__, "--measure", command, root, members]
            done = subprocess.run([*map(str, call)], capture_output=True, text=True, check=True)
            rows.append({"command": command, "members": members, **json.loads(done.stdout)})
            print(rows[-1], flush=True)
    content = {
        "device": "cpu, one process",
        "machine": platform.machine(),
        "versions": {name: version(name) for name in ("nnunet_ext", "nnunetv2", "numpy", "nibabel")},
        "shape": SHAPE,
        "regions": len(RADII),
        "all_members_in_float32_mb": 5 * len(RADII) * int(np.prod(SHAPE)) * 4 / 2**20,
        "rows": rows,
    }
    if arguments.output:
        arguments.output.write_text(json.dumps(content, indent=4) + "\n")


if __name__ == "__main__":
    main()
