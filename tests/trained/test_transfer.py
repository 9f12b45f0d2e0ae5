"""Weights moved to data sets with other channels and labels: by value, in networks and through nnU-Net's predictor."""

import json
import os
from dataclasses import replace

import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from typer.testing import CliRunner

from nnunet_ext import plugin
from nnunet_ext.architectures.slice_network import SliceNetwork
from nnunet_ext.cli import app
from nnunet_ext.errors import InputError
from nnunet_ext.files.checkpoint import read_checkpoint
from nnunet_ext.plans.modalities import ModalityError
from nnunet_ext.testing import Case
from nnunet_ext.trained.correspondence import TransferError
from nnunet_ext.trained.transfer import transfer_weights
from nnunet_ext.trained.transfer_table import heads_not_loaded
from nnunet_ext.trained.weight_axes import PlannedNetwork, weight_axes
from nnunet_ext.trainers import (
    TRAINERS,
    AttentionFusionTrainer,
    AutoencoderRegularizedTrainer,
    BiFPNClassifierTrainer,
    BiFPNTrainer,
    EarlyFuseUNetTrainer,
    FuseOriginUNetTrainer,
    HostAutoencoderTrainer,
    HostClassifierTrainer,
    MethodTrainer,
    ModalityDropoutTrainer,
    ModalityPairingTrainer,
    NestedUNetTrainer,
    SingleModalityUNetTrainer,
)

CASE = Case(
    "2d", 2, patch_size=(16, 16), strides=((1, 1), (2, 2), (2, 2)), kernel_sizes=((3, 3), (3, 3), (3, 3)), base=2
)
VOLUME = replace(
    CASE,
    dimension=3,
    patch_size=(8, 8, 8),
    strides=((1, 1, 1), (2, 2, 2)),
    kernel_sizes=((3, 3, 3), (3, 3, 3)),
)
OTHER_ORDER = ("FLAIR", "T1w", "t1gd", "T2w")  # Medical Segmentation Decathlon, Task01
FROM = [CASE.channels.index(name) for name in ("FLAIR", "T1", "T1ce", "T2")]  # where each of them is in CASE
SUPERSET = ("ADC", *CASE.channels)
UNKNOWN = ("A", "B", "C", "D")
DATASET = "Dataset998_Target"
REGIONS = {"background": 0, "ET": 3, "Whole Tumor": [1, 2, 3], "hole": 4}


def network_of(trainer, case):
    plans = case.plans
    if issubclass(trainer, MethodTrainer):
        plans, *_ = trainer.prepare_plans(plans, case.configuration, case.dataset_json)
    return plans, PlannedNetwork(trainer, plans, case.configuration, case.dataset_json)


def write_model(trainer, case, folder, labels=None, exact=False):
    """Folder of a model of one fold as nnU-Net leaves it, and its network.

    ``exact``: first kernels and their biases are multiples of 1/64, so that their sums over such images are exact.
    """
    torch.manual_seed(1)
    plans, planned = network_of(trainer, case)
    network = planned.build()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter.uniform_(0.5, 1.5)  # biases and norms of different features differ
        if exact:
            for name in weight_axes(planned, planned.without_values()).kernels:
                for part in (name, name.replace("weight", "bias")):
                    network.get_parameter(part).mul_(64).round_().div_(64)
    checkpoint = {
        "network_weights": network.state_dict(),
        "trainer_name": trainer.__name__,
        "init_args": {"configuration": case.configuration, "plans": plans},
        "inference_allowed_mirroring_axes": (0, 1),
    }
    (folder / "fold_0").mkdir(parents=True)
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(case.dataset_json | ({"labels": labels} if labels else {})))
    return network.eval()


def write_target(case, folder, monkeypatch, labels=None):
    dataset = folder / "preprocessed" / DATASET
    dataset.mkdir(parents=True, exist_ok=True)
    (dataset / "nnUNetPlans.json").write_text(json.dumps(case.plans))
    (dataset / "dataset.json").write_text(json.dumps(case.dataset_json | ({"labels": labels} if labels else {})))
    monkeypatch.setenv("nnUNet_preprocessed", str(dataset.parent))
    monkeypatch.setenv("nnUNet_extTrainer", os.path.dirname(plugin.__file__))


class Result:
    """A transfer: the network before, the network after, and what was written."""

    def __init__(
        self, folder, monkeypatch, source, target, trainer, target_trainer=None, labels=(None, None), exact=False
    ):
        self.before = write_model(trainer, source, folder / "model", labels[0], exact)
        write_target(target, folder, monkeypatch, labels[1])
        name = (target_trainer or trainer).__name__
        self.transfer = transfer_weights(
            folder / "model", "998", "nnUNetPlans", folder / "weights.pth", name, target.configuration
        )
        self.content = torch.load(folder / "weights.pth", weights_only=False)
        self.weights = self.content["network_weights"]
        dataset_json = self.content["init_args"]["dataset_json"]
        planned = PlannedNetwork(
            target_trainer or trainer, self.content["init_args"]["plans"], target.configuration, dataset_json
        )
        self.after = planned.build().eval()
        self.drawn = {name: weight.clone() for name, weight in self.after.state_dict().items()}
        self.after.load_state_dict(self.weights)

    def rows(self, what):
        return [tuple(row)[1:] for row in self.transfer.rows if row.what == what]


@pytest.fixture
def transferred(tmp_path, monkeypatch):
    def transfer(*arguments, **keywords):
        return Result(tmp_path, monkeypatch, *arguments, **keywords)

    return transfer


def image(channels, case=CASE):
    return torch.randn(1, channels, *case.patch_size, generator=torch.Generator().manual_seed(2)).double()


@torch.no_grad()
def logits(network, x):
    network.double()
    if isinstance(network, SliceNetwork):
        network.gate_slices, network.mirror_axes = False, ()  # an untrained classifier empties everything
    return network(x)


RESIDUAL = (nnUNetTrainer, ModalityPairingTrainer, AttentionFusionTrainer, FuseOriginUNetTrainer)


@pytest.mark.parametrize(
    ("trainer", "residual"),
    [*((trainer, False) for trainer in (*TRAINERS, nnUNetTrainer)), *((trainer, True) for trainer in RESIDUAL)],
    ids=lambda value: getattr(value, "__name__", "residual" if value else "plain"),
)
def test_other_order_of_channels_predicts_the_same(trainer, residual, transferred):
    case = replace(CASE, residual=residual)
    result = transferred(case, replace(case, channels=OTHER_ORDER), trainer)
    x = image(4)
    before = logits(result.before, x)
    torch.testing.assert_close(logits(result.after, x[:, FROM]), before, rtol=1e-10, atol=1e-10)
    assert not torch.allclose(logits(result.after, x), before, rtol=1e-3)


@pytest.mark.parametrize("residual", [False, True], ids=["plain", "residual"])
@pytest.mark.parametrize(
    ("names", "order"),
    [
        (("C", "D", "A", "B"), [2, 3, 0, 1]),  # an even split: the branches change places
        (("D", "C", "B", "A"), [3, 2, 1, 0]),
    ],
)
def test_branches_of_pairing_change_places_with_their_modalities(names, order, residual, transferred):
    case = replace(CASE, channels=UNKNOWN, settings={"branch_loss_weight": 0.5}, residual=residual)
    result = transferred(case, replace(case, channels=names), ModalityPairingTrainer)
    x = image(4)
    torch.testing.assert_close(logits(result.after, x[:, order]), logits(result.before, x), rtol=1e-10, atol=1e-10)
    assert [row[3] for row in result.rows("branch")] == ["2 -> 1", "1 -> 2"]
    own = [weight for name, weight in result.weights.items() if name.startswith("branch_classifiers.convs.0.")]
    before = result.before.state_dict()
    there = [weight for name, weight in before.items() if name.startswith("branch_classifiers.convs.1.")]
    assert all(torch.equal(a, b.float()) for a, b in zip(own, there, strict=True))


def predicted(folder, x):
    predictor = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(folder), (0,))
    return predictor.predict_logits_from_preprocessed_data(x)


@pytest.mark.parametrize("trainer", [nnUNetTrainer, ModalityPairingTrainer], ids=lambda trainer: trainer.__name__)
def test_model_of_another_order_predicts_the_same_bits_with_nnunets_predictor(trainer, transferred, tmp_path):
    result = transferred(VOLUME, replace(VOLUME, channels=OTHER_ORDER), trainer, exact=True)
    folder = tmp_path / "other"
    (folder / "fold_0").mkdir(parents=True)
    (tmp_path / "weights.pth").rename(folder / "fold_0" / "checkpoint_final.pth")
    for name in ("plans", "dataset_json"):
        (folder / f"{name.removesuffix('_json')}.json").write_text(json.dumps(result.content["init_args"][name]))
    x = torch.randn(4, 10, 9, 11, generator=torch.Generator().manual_seed(3)).mul(64).round().div(64)
    before = predicted(tmp_path / "model", x)
    assert before.std() > 0.01
    assert torch.equal(predicted(folder, x[FROM]), before)


def test_new_modalities_start_at_the_mean_of_the_known_ones_and_the_response_keeps_its_size(transferred):
    result = transferred(CASE, replace(CASE, channels=(*SUPERSET, "PD")), nnUNetTrainer)
    kernel = "encoder.stages.0.0.convs.0.conv.weight"
    there, here = result.before.state_dict()[kernel], result.weights[kernel]
    # four known, six in all: (4 m + 2 m) 4 / 6 = 4 m
    torch.testing.assert_close(here[:, 1:5], there * 4 / 6)
    torch.testing.assert_close(here[:, 0], (there[:, 0] + there[:, 1] + there[:, 2] + there[:, 3]) / 6)
    assert torch.equal(here[:, 0], here[:, 5])
    x = image(1)
    six, four = logits(result.after, x.expand(-1, 6, -1, -1)), logits(result.before, x.expand(-1, 4, -1, -1))
    torch.testing.assert_close(six, four, rtol=1e-5, atol=1e-5)
    assert result.rows("modality")[:2] == [
        ("", "ADC", "new", "mean of T1, T1ce, T2, FLAIR, times 4/6"),
        ("T1", "T1", "moved", "0 -> 1, times 4/6"),
    ]
    # the same weight under its other names
    others = [name for name in result.weights if name.endswith("encoder.stages.0.0.convs.0.all_modules.0.weight")]
    assert len(others) == 2
    assert all(torch.equal(result.weights[name], here) for name in others)


def test_dropped_modalities_count_as_missing_ones(transferred):
    result = transferred(CASE, replace(CASE, channels=("FLAIR", "T1ce")), nnUNetTrainer)
    x = image(4)
    x[:, [0, 2]] = 0
    torch.testing.assert_close(logits(result.after, x[:, [3, 1]]), logits(result.before, x), rtol=1e-10, atol=1e-10)
    assert result.rows("modality") == [
        ("FLAIR", "FLAIR", "moved", "3 -> 0"),
        ("T1ce", "T1ce", "moved", "1 -> 1"),
        ("T1", "", "dropped", ""),
        ("T2", "", "dropped", ""),
    ]


def test_where_no_modality_is_known_all_begin_with_the_mean_of_all(transferred):
    result = transferred(CASE, replace(CASE, channels=("CT", "PET")), nnUNetTrainer)
    kernel = "encoder.stages.0.0.convs.0.conv.weight"
    there, here = result.before.state_dict()[kernel], result.weights[kernel]
    torch.testing.assert_close(here, (there.mean(1, keepdim=True) * 4 / 2).expand_as(here))


def test_modality_that_is_new_in_its_branch_begins_with_the_mean_of_that_branch(transferred):
    source = replace(CASE, settings={"modality_groups": [["FLAIR", "T2"], ["T1ce", "T1"]]})
    target = replace(CASE, settings={"modality_groups": [["T1"], ["FLAIR", "T2", "T1ce"]]})
    result = transferred(source, target, ModalityPairingTrainer)
    before = result.before.state_dict()
    flair_t2, t1ce_t1 = (before[f"encoder.0.0.convs.{branch}.weight"] for branch in (0, 1))
    torch.testing.assert_close(result.weights["encoder.0.0.convs.0.weight"], t1ce_t1[:, 1:])
    mean = flair_t2.mean(1, keepdim=True)
    torch.testing.assert_close(result.weights["encoder.0.0.convs.1.weight"], torch.cat([flair_t2, mean], 1) * 2 / 3)
    assert result.rows("branch") == [
        ("T1ce, T1", "T1", "moved", "2 -> 1"),
        ("FLAIR, T2", "FLAIR, T2, T1ce", "moved", "1 -> 2"),
    ]
    assert ("", "T1ce", "new", "mean of FLAIR, T2, times 2/3; it is in another branch there") in result.rows("modality")


@pytest.mark.parametrize(
    ("trainer", "heads"),
    [
        (ModalityPairingTrainer, ["classifiers.0", "classifiers.1"]),
        (AutoencoderRegularizedTrainer, ["decoder.to_logits"]),
        (AttentionFusionTrainer, ["decoder.head"]),
        (NestedUNetTrainer, ["heads.0", "heads.1"]),
        (nnUNetTrainer, ["decoder.seg_layers.0", "decoder.seg_layers.1"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_heads_are_kept_row_by_row_where_names_agree(trainer, heads, transferred):
    labels = {"background": 0, "Enhancing": 1, "hole": 2, "Necrosis": 3}
    result = transferred(CASE, CASE, trainer, labels=(None, labels))
    before = result.before.state_dict()
    for head in heads:
        for part in ("weight", "bias"):
            name = f"{head}.{part}"
            there, here = before[name], result.weights[name]
            # background, necrosis, oedema, enhancing -> background, enhancing, hole, necrosis
            assert torch.equal(here[[0, 1, 3]], there[[0, 3, 1]])
            assert not torch.equal(here[2], there[2])
            assert part == "bias" or not any(torch.equal(here[2], row) for row in there)
    assert result.rows("label") == [
        ("background", "background", "kept", "0 -> 0"),
        ("enhancing", "Enhancing", "kept", "3 -> 1"),
        ("", "hole", "new", ""),
        ("necrosis", "Necrosis", "kept", "1 -> 3"),
        ("oedema", "", "dropped", ""),
    ]
    assert bool(heads_not_loaded(result.weights)) == result.transfer.heads_left_out == (trainer is nnUNetTrainer)


def test_regions_are_known_by_their_spellings_and_so_are_rows_of_the_slice_classifier(transferred):
    case = replace(CASE, regions=True)
    result = transferred(case, case, BiFPNClassifierTrainer, labels=(None, REGIONS))
    before = result.before.state_dict()
    for name in ("head.weight", "head.bias", "classifier.fc.weight", "classifier.fc.bias"):
        # whole_tumor, tumor_core, enhancing_tumor -> ET, Whole Tumor, hole
        assert torch.equal(result.weights[name][:2], before[name][[2, 0]])
        assert not torch.equal(result.weights[name][2], before[name][1])
    assert [row[2] for row in result.rows("region")] == ["kept", "kept", "new", "dropped"]


def test_rows_of_the_slice_classifier_have_no_background(transferred):
    labels = {"background": 0, "enhancing": 1, "oedema": 2, "hole": 3}
    result = transferred(CASE, CASE, BiFPNClassifierTrainer, labels=(None, labels))
    there, here = result.before.state_dict()["classifier.fc.weight"], result.weights["classifier.fc.weight"]
    assert torch.equal(here[:2], there[[2, 1]])


def test_labels_do_not_become_regions(transferred):
    regions = {"background": 0, "enhancing": [1, 2], "oedema": 1, "x": 2}
    result = transferred(CASE, replace(CASE, regions=True), ModalityPairingTrainer, labels=(None, regions))
    why = "labels there, regions here"
    assert result.rows("region") == [("", name, "new", why) for name in ("enhancing", "oedema", "x")]


def test_reconstruction_of_the_autoencoder_goes_by_modalities(transferred):
    result = transferred(CASE, replace(CASE, channels=("T2", "ADC", "T1")), AutoencoderRegularizedTrainer)
    for part in ("weight", "bias"):
        there = result.before.state_dict()[f"autoencoder.to_image.{part}"]
        here = result.weights[f"autoencoder.to_image.{part}"]
        torch.testing.assert_close(here, torch.stack([there[2], (there[2] + there[0]) / 2, there[0]]))
    assert not result.rows("part")


def test_autoencoder_of_another_patch_is_new_and_the_rest_is_moved(transferred):
    result = transferred(CASE, replace(CASE, patch_size=(24, 16)), AutoencoderRegularizedTrainer)
    before = result.before.state_dict()
    assert torch.equal(result.weights["decoder.to_logits.weight"], before["decoder.to_logits.weight"])
    branch = [name for name in before if name.startswith("autoencoder.")]
    assert not any(torch.equal(result.weights[name], before[name]) for name in branch)
    assert result.rows("part") == [("", "autoencoder", "new", "other sizes there")]


@pytest.mark.parametrize(
    ("trainers", "row"),
    [
        ((BiFPNTrainer, BiFPNClassifierTrainer), ("", "classifier", "new", "")),
        ((BiFPNClassifierTrainer, BiFPNTrainer), ("classifier", "", "dropped", "")),
        ((nnUNetTrainer, HostAutoencoderTrainer), ("", "autoencoder", "new", "")),
        ((HostClassifierTrainer, nnUNetTrainer), ("classifier", "", "dropped", "")),
    ],
    ids=["new", "dropped", "new beside nnU-Net's", "dropped from nnU-Net's"],
)
def test_part_that_one_network_has_alone(trainers, row, transferred):
    result = transferred(CASE, CASE, *trainers)
    assert result.rows("part") == [row]
    x = image(4)
    torch.testing.assert_close(logits(result.after, x), logits(result.before, x), rtol=1e-10, atol=1e-10)


def test_parts_beside_nnunets_network_are_exchanged(transferred):
    result = transferred(CASE, CASE, HostAutoencoderTrainer, HostClassifierTrainer)
    assert result.rows("part") == [("autoencoder", "", "dropped", ""), ("", "classifier", "new", "")]
    assert result.transfer.heads_left_out


def test_weights_of_stock_nnunet_go_to_a_trainer_of_its_network_and_back(transferred, tmp_path):
    result = transferred(CASE, CASE, nnUNetTrainer, ModalityDropoutTrainer)
    before = result.before.state_dict()
    assert before.keys() == result.weights.keys()
    assert all(torch.equal(result.weights[name], weight) for name, weight in before.items())
    back = transfer_weights(tmp_path / "model", "998", "nnUNetPlans", tmp_path / "b.pth", "nnUNetTrainer")
    assert back.trainer == "nnUNetTrainer"


def test_previous_stage_of_a_cascade_goes_by_labels(transferred):
    case = replace(VOLUME, cascade=True)
    labels = {"background": 0, "oedema": 1, "hole": 2, "enhancing": 3}
    result = transferred(
        case, replace(case, channels=(*CASE.channels[::-1], "PD")), nnUNetTrainer, labels=(None, labels)
    )
    kernel = "encoder.stages.0.0.convs.0.conv.weight"
    there, here = result.before.state_dict()[kernel], result.weights[kernel]
    torch.testing.assert_close(here[:, :4], there[:, [3, 2, 1, 0]] * 4 / 5)
    # one-hot channels behind the modalities: necrosis, oedema, enhancing -> oedema, hole, enhancing
    assert torch.equal(here[:, [5, 7]], there[:, [5, 6]])
    assert not here[:, 6].any()
    assert [row[2] for row in result.rows("previous stage")] == ["moved", "new", "moved", "dropped"]


def test_cascade_begins_as_the_network_without_its_first_stage(transferred):
    result = transferred(VOLUME, replace(VOLUME, cascade=True), ModalityPairingTrainer)
    x = image(4, VOLUME)
    one_hot = torch.ones(1, 3, *VOLUME.patch_size).double()
    torch.testing.assert_close(logits(result.after, torch.cat([x, one_hot], 1)), logits(result.before, x))


@pytest.mark.parametrize(
    "trainer", [ModalityPairingTrainer, AutoencoderRegularizedTrainer, nnUNetTrainer], ids=lambda t: t.__name__
)
def test_file_is_what_nnunet_loads(trainer, transferred, tmp_path):
    result = transferred(CASE, replace(CASE, channels=("PD", *OTHER_ORDER)), trainer)
    read_checkpoint(tmp_path / "weights.pth")
    network = result.after.float()
    network.load_state_dict(result.drawn)
    load_pretrained_weights(network, str(tmp_path / "weights.pth"))
    loaded = network.state_dict()
    for name, weight in result.weights.items():
        expected = result.drawn[name] if ".seg_layers." in name else weight
        assert torch.equal(loaded[name], expected), name


def strided(case):
    return replace(case, strides=((1, 1), (2, 1), (2, 2)))


@pytest.mark.parametrize(
    ("source", "target", "trainers", "message"),
    [
        (CASE, strided(CASE), [nnUNetTrainer], r"strides is .*\[2, 2\].* there and .*\[2, 1\].* here"),
        (CASE, replace(CASE, base=4), [BiFPNTrainer], r"features_per_stage is \[1, 2\] there and \[2, 4\] here"),
        (CASE, CASE, [nnUNetTrainer, ModalityPairingTrainer], "PlainConvUNet there and ModalityPairingUNet here"),
        (CASE, CASE, [NestedUNetTrainer, BiFPNTrainer], "NestedUNet there and BiFPNet here"),
        (CASE, replace(CASE, residual=True), [nnUNetTrainer], "PlainConvUNet there and ResidualEncoderUNet here"),
        (
            CASE,
            replace(CASE, settings={"modality_groups": [["T1"], ["T2"], ["T1ce", "FLAIR"]]}),
            [ModalityPairingTrainer],
            r"2 branches there \(FLAIR, T2 / T1ce, T1\) and 3 here \(T1 / T2 / T1ce, FLAIR\)",
        ),
        (
            CASE,
            replace(CASE, settings={"master_modality": "T2"}),
            [AttentionFusionTrainer],
            "master modality is T1ce there and T2 here.*master_modality=T1ce",
        ),
        (CASE, VOLUME, [nnUNetTrainer], "conv_op is Conv2d there and Conv3d here"),
    ],
)
def test_other_topologies_are_refused_with_a_difference(source, target, trainers, message, transferred, tmp_path):
    with pytest.raises(TransferError, match=message):
        transferred(source, target, *trainers)
    assert not (tmp_path / "weights.pth").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "preprocessed"]


def test_names_that_mean_the_same_are_refused(transferred):
    with pytest.raises(ModalityError, match=r"which of 'T1' is which of 'T1w', 'T1n'"):
        transferred(replace(CASE, channels=("T1", "T2")), replace(CASE, channels=("T1w", "T1n")), nnUNetTrainer)


def test_file_that_exists_stays_as_it_is(tmp_path, monkeypatch):
    write_model(nnUNetTrainer, CASE, tmp_path / "model")
    write_target(CASE, tmp_path, monkeypatch)
    (tmp_path / "weights.pth").write_text("mine")
    with pytest.raises(InputError, match=r"weights\.pth exists already"):
        transfer_weights(tmp_path / "model", "998", "nnUNetPlans", tmp_path / "weights.pth")
    assert (tmp_path / "weights.pth").read_text() == "mine"


def test_command_prints_the_table_and_how_to_train(tmp_path, monkeypatch):
    write_model(ModalityPairingTrainer, CASE, tmp_path / "model")
    write_target(replace(CASE, channels=OTHER_ORDER), tmp_path, monkeypatch)
    output = tmp_path / "w.pth"
    result = CliRunner().invoke(app, ["transfer", str(tmp_path / "model"), "-d", "998", "-o", str(output)])
    assert result.exit_code == 0, result.output
    cells = [[cell.strip() for cell in line.split("│")[1:5]] for line in result.stdout.splitlines()]
    assert ["modality", "T1ce", "t1gd", "moved"] in cells
    train = "nnUNetv2_train 998 2d FOLD -tr ModalityPairingTrainer -p nnUNetPlans -pretrained_weights"
    assert f"Train with: {train} {output}" in result.stdout
    assert "seg_layers" not in result.stdout
    first = output.read_bytes()
    output.unlink()
    CliRunner().invoke(app, ["transfer", str(tmp_path / "model"), "-d", "998", "-o", str(output)])
    assert output.read_bytes() == first


def test_early_fusion_reads_its_master_first_in_any_order(transferred):
    result = transferred(CASE, replace(CASE, channels=("FLAIR", "ADC", "T1ce")), EarlyFuseUNetTrainer)
    kernel = "encoder.levels.0.blocks.0.convs.0.conv.weight"
    there, here = result.before.state_dict()[kernel], result.weights[kernel]
    # T1ce, T1, T2, FLAIR -> T1ce, FLAIR, ADC
    torch.testing.assert_close(
        here, torch.stack([there[:, 0], there[:, 3], (there[:, 0] + there[:, 3]) / 2], 1) * 2 / 3
    )


def test_modalities_that_a_network_does_not_read_are_no_rows(transferred):
    result = transferred(CASE, replace(CASE, channels=OTHER_ORDER), SingleModalityUNetTrainer)
    assert result.rows("modality") == [("T1ce", "t1gd", "moved", "1 -> 2")]
