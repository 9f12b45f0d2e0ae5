r"""Models and post-processing written by an earlier version load and give the same as they did then.

``tests/data`` was written by version 0.1.0 as of commit 9cdec15 on a CPU, PyTorch 2.14.1, from generated data only, by
this script (imports left out; ``cases`` and ``label_cases`` as they were then)::

    MODELS = {
        "ModalityPairingTrainer": Case(base=1),
        "AutoencoderRegularizedTrainer": Case(base=2, regions=True),
        "AttentionFusionTrainer": Case(base=1),
        "FuseNetTrainer": Case("2d", 2, (32, 16), ((1, 1), (2, 2), (2, 2)), ((3, 3),) * 3, base=1),
        "BiFPNClassifierTrainer": Case(base=1, regions=True),
        "NestedUNetClassifierTrainer": Case(base=1),
    }
    out = Path(sys.argv[1])
    for name, case in MODELS.items():
        torch.manual_seed(0)
        with TemporaryDirectory() as folder:
            trainer = make_trainer(getattr(trainers, name), case, Path(folder), pytest.MonkeyPatch())
            images, target = make_batch(trainer, case)
            trainer.train_step({"data": images, "target": target})
            trainer.network.eval()
            trainer.set_deep_supervision_enabled(False)
            with torch.no_grad():
                for weights in trainer.network.state_dict().values():
                    weights.mul_(16).round_().div_(16)  # few different values, which compress well
                images = torch.arange(images[0].numel()).mul(0.7).sin().view(1, *images.shape[1:])
                logits = trainer.network(images)
            trainer.save_checkpoint(f"{folder}/checkpoint.pth")
            checkpoint = torch.load(f"{folder}/checkpoint.pth", weights_only=False)
            del checkpoint["optimizer_state"]
            torch.save(checkpoint, f"{folder}/checkpoint.pth")
            model = out / "models" / name
            model.mkdir(parents=True)
            (model / "checkpoint_final.pth.xz").write_bytes(lzma.compress(Path(folder, "checkpoint.pth").read_bytes()))
            (model / "plans.json").write_text(json.dumps(trainer.plans_manager.plans, indent=1))
            (model / "dataset.json").write_text(json.dumps(case.dataset_json, indent=1))
            np.savez_compressed(model / "expected.npz", logits=logits.numpy()[..., ::4, ::4])
    with TemporaryDirectory() as folder:
        many, noise, few = (tumour(enhancing=False) for _ in range(3))
        for labels in (many, noise, few):
            labels[3, 3:5, 3:6] = labels[5, 3:5, 3:6] = 3
        for labels in (many, noise):
            labels[3, 6:8, 3:6] = 3
        noise[9, 11, 11:13] = 1
        write_dataset_json(Path(folder))
        predictions = write_folder(Path(folder, "pred"), {"a": many, "b": noise, "c": few})
        references = write_folder(Path(folder, "ref"), {"a": many, "b": many, "c": tumour(enhancing=False)})
        pickle = out / "postprocessing.pkl"
        determine_postprocessing(predictions, references, pickle, thresholds=(3, 7, 15), num_processes=1)
"""

import lzma
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from label_cases import tumour
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from nnunet_ext import plugin

DATA = Path(__file__).parents[1] / "data"
MODELS = sorted((DATA / "models").iterdir())


@pytest.mark.parametrize("stored", MODELS, ids=lambda folder: folder.name)
def test_stored_model_predicts_what_it_did(stored, tmp_path, monkeypatch):
    for name in ("plans.json", "dataset.json"):
        shutil.copy(stored / name, tmp_path)
    (tmp_path / "fold_0").mkdir()
    packed = (stored / "checkpoint_final.pth.xz").read_bytes()
    (tmp_path / "fold_0" / "checkpoint_final.pth").write_bytes(lzma.decompress(packed))
    monkeypatch.setenv("nnUNet_extTrainer", os.path.dirname(plugin.__file__))
    predictor = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(tmp_path), (0,))
    assert predictor.trainer_name == stored.name
    shape = (len(predictor.dataset_json["channel_names"]), *predictor.configuration_manager.patch_size)
    images = torch.arange(np.prod(shape)).mul(0.7).sin().view(1, *shape)
    with torch.no_grad():
        logits = predictor.network.eval()(images)
    expected = np.load(stored / "expected.npz")["logits"]
    np.testing.assert_allclose(logits.numpy()[..., ::4, ::4], expected, rtol=1e-3, atol=1e-4)


def test_there_is_a_model_of_each_family():
    assert len(MODELS) == 6


def test_stored_postprocessing_changes_what_it_did():
    functions, arguments = pickle.loads((DATA / "postprocessing.pkl").read_bytes())
    labels = tumour(enhancing=False)
    labels[3, 3:5, 3:6] = labels[5, 3:5, 3:6] = 3
    labels[9, 11, 11:13] = 1
    for function, keywords in zip(functions, arguments, strict=True):
        labels = function(labels, **keywords)
    # the speck outside the tumour is gone, and twelve voxels of enhancing tumour have become necrosis
    np.testing.assert_array_equal(labels, tumour(enhancing=False))
