"""Faults that the tests must find: plausible slips, each with the test that notices it."""

from typing import NamedTuple


class Fault(NamedTuple):
    """One edit that breaks the code.

    Attributes:
        name: What is wrong then.
        file: Path from the checkout.
        old: Text that the file has once.
        new: What stands there instead.
        test: Test that must fail, as pytest takes it.
    """

    name: str
    file: str
    old: str
    new: str
    test: str


ARCHITECTURES, LOSSES, TRAINERS = "nnunet_ext/architectures", "nnunet_ext/losses", "nnunet_ext/trainers"
AUGMENTATION, FILES = "nnunet_ext/augmentation", "nnunet_ext/files"
UNCERTAINTY = "nnunet_ext/uncertainty"
CONTINUATION = "tests/trainers/test_continuation.py"
NETWORKS, DISTRIBUTED = "tests/architectures", "tests/test_distributed.py"
EPOCH = f"{DISTRIBUTED}::test_epoch_is_logged_as_one_process_logs_it"
GRADIENTS = f"{DISTRIBUTED}::test_gradients_are_those_of_one_process_on_the_whole_batch"
RESUMED = "tests/test_contract.py::test_training_goes_on_from_a_checkpoint_as_if_it_had_not_been_stopped"
BIFPN = f"{NETWORKS}/test_bifpn_literal.py::test_bifpn_equals_its_literal_reading"
NESTED = f"{NETWORKS}/test_nested_unet_literal.py::test_nested_unet_equals_its_literal_reading"
SEGRESNET = f"{NETWORKS}/test_segresnet_vae_literal.py::test_segresnet_vae_equals_its_literal_reading"
FUSION = f"{NETWORKS}/test_attention_fusion_literal.py::test_each_row_of_table_1_equals_its_literal_reading"
INITIALIZATION = (
    f"{NETWORKS}/test_initialization.py"
    "::test_initialize_draws_the_convolutions_of_each_network_as_he_and_zeroes_their_biases"
)

UNCERTAINTY_FAULTS = (
    Fault(
        "members that doubt alike disagree",
        f"{UNCERTAINTY}/maps.py",
        "np.maximum(entropy - expected, 0)",
        "np.maximum(entropy, 0)",
        "tests/uncertainty/test_maps.py::test_members_that_both_doubt_share_their_doubt_and_disagree_about_nothing",
    ),
    Fault(
        "a fold is judged with a temperature that it was fitted on",
        f"{UNCERTAINTY}/calibrate.py",
        "if other != path",
        "if other",
        "tests/uncertainty/test_calibrate.py::test_temperatures_of_all_folds_and_of_all_but_each",
    ),
    Fault(
        "calibration makes a tie of a decision",
        f"{UNCERTAINTY}/temperature.py",
        "return _with_decisions_of(probabilities, result, exclusive)",
        "return result",
        "tests/uncertainty/test_temperature.py::test_largest_class_stays_the_largest_where_rounding_would_make_a_tie",
    ),
    Fault(
        "a member that lacks a case is let through",
        f"{UNCERTAINTY}/members.py",
        "sorted(every - member.cases.keys())",
        "sorted(member.cases.keys() - every)",
        "tests/uncertainty/test_estimate.py::test_members_that_do_not_fit_are_refused_and_nothing_is_written",
    ),
    Fault(
        "voxels at a threshold of uncertainty are taken out",
        "nnunet_ext/evaluation/uncertainty_curves.py",
        "np.searchsorted(THRESHOLDS, uncertainty)",
        'np.searchsorted(THRESHOLDS, uncertainty, side="right").clip(0, NUM_POINTS)',
        "tests/evaluation/test_uncertainty_curves.py::test_only_voxels_above_the_threshold_are_taken_out",
    ),
)

SEVERAL_PROCESSES = (
    Fault(
        "loss components of the processes are summed instead of averaged",
        f"{TRAINERS}/base.py",
        old="math.fsum(m[name] for m in of_all_ranks) / len(of_all_ranks)",
        new="math.fsum(m[name] for m in of_all_ranks)",
        test=EPOCH,
    ),
    Fault(
        "slice counts of the processes are lost",
        f"{TRAINERS}/slice_classifier_trainer.py",
        old="counts = np.sum(of_all_ranks, axis=0)",
        new="counts = np.zeros_like(counts)",
        test=EPOCH,
    ),
    Fault(
        "slice scores are those of one process",
        f"{TRAINERS}/slice_classifier_trainer.py",
        old="counts = np.sum(of_all_ranks, axis=0)",
        new="pass",
        test=EPOCH,
    ),
    Fault(
        "sums over the batch stay within a process",
        f"{LOSSES}/process_sum.py",
        old="return _ProcessSum.apply(tensor)",
        new="return tensor",
        test=GRADIENTS,
    ),
    Fault(
        "gradients of sums over the batch stay within a process",
        f"{LOSSES}/process_sum.py",
        old="total = gradient.clone()\n        distributed.all_reduce(total)",
        new="total = gradient.clone()",
        test=GRADIENTS,
    ),
)

TRAINING = (
    Fault(
        "a validation loss of nan stops the training",
        f"{TRAINERS}/base.py",
        old="        super().initialize()\n        for key in self._own_curves():\n",
        new="        super().initialize()\n"
        "        self.loss.register_forward_hook(lambda _, __, loss: self._stop_unless_finite(loss.detach()))\n"
        "        for key in self._own_curves():\n",
        test="tests/trainers/test_base.py::test_validation_loss_of_nan_does_not_stop_the_training",
    ),
    Fault(
        "a checkpoint is written in place",
        f"{TRAINERS}/base.py",
        old="with atomic_checkpoint(Path(filename)) as temporary:\n            super().save_checkpoint(str(temporary))",
        new="super().save_checkpoint(filename)",
        test="tests/trainers/test_base.py::test_killed_while_writing_a_checkpoint_the_one_before_stays_and_training_goes_on",
    ),
    Fault(
        "the optimizer starts anew after resuming",
        f"{TRAINERS}/base.py",
        old="        super().load_checkpoint(filename_or_checkpoint)\n",
        new="        super().load_checkpoint(filename_or_checkpoint)\n        self.optimizer.state.clear()\n",
        test=RESUMED,
    ),
    Fault(
        "a paper's trainer mirrors two of three axes in prediction",
        f"{TRAINERS}/paper_augmentation.py",
        old="size=self.configuration_manager.patch_size)",
        new="size=self.configuration_manager.patch_size, mirror_axes=nnunets.mirror_axes[:2])",
        test="tests/trainers/test_slice_classification.py::test_augmentation_is_the_papers_and_keeps_nnunets_label_steps",
    ),
)

AUGMENTATIONS = (
    Fault(
        "the autoencoder's scale is applied half of the time",
        f"{AUGMENTATION}/autoencoder.py",
        old="p_per_channel=1)",
        new="p_per_channel=0.5)",
        test="tests/augmentation/test_autoencoder.py::test_intensities_are_scaled_and_shifted_within_the_papers_ranges",
    ),
    Fault(
        "the autoencoder's images are mirrored along two of three axes",
        f"{AUGMENTATION}/autoencoder.py",
        old="MirrorTransform(tuple(mirror_axes))",
        new="MirrorTransform(tuple(mirror_axes)[:2])",
        test="tests/augmentation/test_autoencoder.py"
        "::test_image_and_labels_are_mirrored_together_on_each_axis_half_of_the_time",
    ),
    Fault(
        "slice classification's scale is applied to half of the channels",
        f"{AUGMENTATION}/slice_classification.py",
        old="(1 - scale, 1 + scale), synchronize_channels=False)",
        new="(1 - scale, 1 + scale), synchronize_channels=False, p_per_channel=0.5)",
        test="tests/augmentation/test_slice_classification.py::test_scales_fill_their_range",
    ),
    Fault(
        "slice classification's images are mirrored along two of three axes",
        f"{AUGMENTATION}/slice_classification.py",
        old="MirrorTransform(tuple(mirror_axes))",
        new="MirrorTransform(tuple(mirror_axes)[:2])",
        test="tests/augmentation/test_slice_classification.py"
        "::test_image_and_segmentation_are_mirrored_together_along_every_axis",
    ),
    Fault(
        "the papers' trainers mirror along two of three axes",
        f"{TRAINERS}/paper_augmentation.py",
        old="self.augmentation(mirror_axes, masked)",
        new="self.augmentation(mirror_axes[:2], masked)",
        test="tests/trainers/test_autoencoder.py::test_papers_augmentation_cuts_patches_at_their_final_size",
    ),
)

INITIAL_WEIGHTS = (
    Fault(
        "networks keep PyTorch's initial weights",
        f"{ARCHITECTURES}/method_network.py",
        old="        InitWeights_He(cls.negative_slope)(module)",
        new="        pass",
        test=INITIALIZATION,
    ),
    Fault(
        "the decoder's parts of modality pairing are drawn each for its own inputs",
        f"{ARCHITECTURES}/modality_pairing.py",
        old="        if isinstance(module, ModalityPairingUNet):",
        new="        if False:",
        test=f"{NETWORKS}/test_modality_pairing.py::test_parts_of_the_decoders_first_convolution_are_initialized_as_one",
    ),
)

NETWORK_FAULTS = (
    Fault(
        "the branch on nnU-Net's networks has the full widths, and costs as much",
        f"{ARCHITECTURES}/host_unet.py",
        old="BRANCH_WIDTH = 0.5",
        new="BRANCH_WIDTH = 1.0",
        test=(
            f"{NETWORKS}/test_host_unet.py"
            "::test_branch_has_half_the_plans_widths_and_the_latent_of_the_paper_in_proportion"
        ),
    ),
    Fault(
        "validation with deep supervision does not see the gate",
        f"{ARCHITECTURES}/host_unet.py",
        old="finest = self._gated_if_wanted(finest, self._slice_logits(features, x))",
        new="self._slice_logits(features, x)",
        test=f"{NETWORKS}/test_host_unet.py::test_with_deep_supervision_the_finest_logits_are_gated_in_validation",
    ),
    Fault(
        "slices are labelled by the coarsest target",
        f"{TRAINERS}/host_networks.py",
        old="target[0] if isinstance(target, list) else target)",
        new="target[-1] if isinstance(target, list) else target)",
        test="tests/trainers/test_host_networks.py::test_loss_is_nnunets_plus_those_of_branch_and_slices",
    ),
    Fault(
        "a stripped model of nnU-Net's network with a branch still needs this package",
        "nnunet_ext/trained/strip.py",
        old='["architecture"] = host or architecture',
        new='["architecture"] = architecture',
        test=("tests/trained/test_strip.py::test_stripped_model_of_nnunets_own_network_predicts_without_this_package"),
    ),
    Fault(
        "decoder of attention fusion on residual encoders takes the plans' stages upside down",
        f"{ARCHITECTURES}/fusion_system.py",
        old='list(planned["n_conv_per_stage_decoder"])[::-1]',
        new='list(planned["n_conv_per_stage_decoder"])',
        test=(
            f"{NETWORKS}/test_attention_fusion_literal.py"
            "::test_proposed_row_on_a_residual_encoder_equals_its_literal_reading"
        ),
    ),
    Fault(
        "residual blocks of pairing do not stride",
        f"{ARCHITECTURES}/modality_pairing.py",
        old="                initial_stride=strides[stage],",
        new="                initial_stride=1,",
        test=f"{NETWORKS}/test_modality_pairing.py::test_residual_output_equals_two_branch_reading_of_equations_2_and_3",
    ),
    Fault(
        "residual blocks do not begin as their skips",
        f"{ARCHITECTURES}/method_network.py",
        old="        init_last_bn_before_add_to_0(module)\n",
        new="",
        test="tests/trainers/test_modality_pairing.py::test_residual_encoder_plans_keep_their_blocks",
    ),
    Fault(
        "group norm leaves its result in float32",
        f"{ARCHITECTURES}/group_norm.py",
        old="        with without_autocast(x.device):",
        new="        if True:",
        test=f"{NETWORKS}/test_group_norm.py::test_the_result_has_the_precision_of_the_input_on_a_gpu_as_well",
    ),
    Fault(
        "the LSTM has no dropout",
        f"{ARCHITECTURES}/slice_classifier.py",
        old="dropout=lstm_dropout if lstm_layers > 1 else 0.0",
        new="dropout=0.0",
        test=f"{NETWORKS}/test_slice_classifier_literal.py"
        "::test_lstm_drops_between_its_layers_with_the_rate_asked_for_and_in_training_only",
    ),
    Fault(
        "the classifier takes the maximum over the plane",
        f"{ARCHITECTURES}/slice_classifier.py",
        old="x = x.mean(self.plane_axes, keepdim=True, dtype=precise_type(x))",
        new="x = x.amax(self.plane_axes, keepdim=True).to(torch.promote_types(x.dtype, torch.float32))",
        test=f"{NETWORKS}/test_slice_classifier_literal.py::test_slice_logits_equal_the_literal_table",
    ),
    Fault(
        "BiFPN raises linearly",
        f"{ARCHITECTURES}/bifpn_layer.py",
        old='mode="nearest")',
        new='mode="trilinear")',
        test=BIFPN,
    ),
    Fault(
        "BiFPN lowers by the average",
        f"{ARCHITECTURES}/bifpn_layer.py",
        old='get_matching_pool_op(conv_op, pool_type="max")',
        new='get_matching_pool_op(conv_op, pool_type="avg")',
        test=BIFPN,
    ),
    Fault(
        "a BiFPN node on the way up leaves its own input out",
        f"{ARCHITECTURES}/bifpn_layer.py",
        old="self.bottom_up[level - 1](pyramid[level], *middle, lowered)",
        new="self.bottom_up[level - 1](0 * pyramid[level], *middle, lowered)",
        test=BIFPN,
    ),
    Fault(
        "a BiFPN node has no ReLU",
        f"{ARCHITECTURES}/bifpn_layer.py",
        old="            nonlin(**(nonlin_kwargs or {})),\n            conv_op(features, features, kernel_size",
        new="            nn.Identity(),\n            conv_op(features, features, kernel_size",
        test=BIFPN,
    ),
    Fault(
        "UNet++ raises by nearest neighbours",
        f"{ARCHITECTURES}/nested_unet.py",
        old="mode=LINEAR[x.ndim])",
        new='mode="nearest")',
        test=NESTED,
    ),
    Fault(
        "UNet++ pools by the average",
        f"{ARCHITECTURES}/nested_unet.py",
        old='get_matching_pool_op(conv_op, pool_type="max")',
        new='get_matching_pool_op(conv_op, pool_type="avg")',
        test=NESTED,
    ),
    Fault(
        "the skips of UNet++ are zero",
        f"{ARCHITECTURES}/nested_unet.py",
        old="torch.cat([*skips, raised], 1)",
        new="torch.cat([*(0 * skip for skip in skips), raised], 1)",
        test=NESTED,
    ),
    Fault(
        "the decoder of the autoencoder's network has no skips",
        f"{ARCHITECTURES}/segresnet.py",
        old="x = block(upsizing(x, skip.shape[2:]) + skip)",
        new="x = block(upsizing(x, skip.shape[2:]))",
        test=SEGRESNET,
    ),
    Fault(
        "the autoencoder's network upsamples by nearest neighbours",
        f"{ARCHITECTURES}/pre_activation_block.py",
        old='mode="trilinear" if x.ndim == 5 else "bilinear", align_corners=False)',
        new='mode="nearest")',
        test=SEGRESNET,
    ),
    Fault(
        "the decoder of attention fusion has no skips",
        f"{ARCHITECTURES}/fusion_decoder.py",
        old="torch.cat([skip, upsample(x)], dim=1)",
        new="torch.cat([0 * skip, upsample(x)], dim=1)",
        test=FUSION,
    ),
    Fault(
        "attention fusion upsamples linearly",
        f"{ARCHITECTURES}/fusion_decoder.py",
        old='mode="nearest")',
        new='mode="bilinear")',
        test=FUSION,
    ),
    Fault(
        "VU has no ReLU",
        f"{ARCHITECTURES}/autoencoder_branch.py",
        old="x = torch.relu(self.from_sample(sample)).unflatten",
        new="x = self.from_sample(sample).unflatten",
        test=f"{NETWORKS}/test_autoencoder_branch.py::test_vu_is_dense_relu_convolution_upsampling",
    ),
    Fault(
        "VD has no ReLU",
        f"{ARCHITECTURES}/autoencoder_branch.py",
        old="self.norm = GroupNormReLU(num_groups, endpoint)",
        new="self.norm = nn.GroupNorm(num_groups, endpoint)",
        test=f"{NETWORKS}/test_autoencoder_branch.py::test_vd_is_norm_relu_convolution_dense",
    ),
    Fault(
        "a batch shares one noise vector",
        f"{ARCHITECTURES}/autoencoder_branch.py",
        old="noise = torch.randn_like(mean)",
        new="noise = torch.randn_like(mean[:1]).expand_as(mean)",
        test=f"{NETWORKS}/test_autoencoder_branch.py::test_each_sample_and_each_step_has_noise_of_its_own",
    ),
    Fault(
        "the noise is uniform",
        f"{ARCHITECTURES}/autoencoder_branch.py",
        old="noise = torch.randn_like(mean)",
        new="noise = 12**0.5 * (torch.rand_like(mean) - 0.5)",
        test=f"{NETWORKS}/test_autoencoder_branch.py::test_noise_is_standard_normal",
    ),
    Fault(
        "classifiers of lower resolutions read one branch",
        f"{ARCHITECTURES}/modality_pairing.py",
        old="logits.append(self.classifiers[index](x))",
        new="logits.append(self.classifiers[index](x if x.shape[2:] == skips[0].shape[2:] else torch.cat("
        "[x.chunk(self.num_branches, 1)[0], *[0 * b for b in x.chunk(self.num_branches, 1)[1:]]], 1)))",
        test=f"{NETWORKS}/test_modality_pairing.py::test_logits_of_every_resolution_read_both_branches",
    ),
)

LOSS_FAULTS = (
    Fault(
        "the pairing loss gives branch A no gradient",
        f"{LOSSES}/modality_pairing.py",
        old="return torch.cat(grads_a, 1).view(a.shape), torch.cat(grads_b, 1).view(b.shape)",
        new="return torch.zeros_like(a), torch.cat(grads_b, 1).view(b.shape)",
        test="tests/losses/test_modality_pairing.py",
    ),
)

FILE_FAULTS = (
    Fault(
        "writers of the same file share a temporary name",
        f"{FILES}/atomic.py",
        "folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))",
        "folder = parent / PREFIX; folder.mkdir()",
        "tests/files/test_atomic.py::test_commands_that_write_the_same_file_at_once_do_not_meet",
    ),
    Fault(
        "what is being written is taken for what a killed command left",
        f"{FILES}/atomic.py",
        "            if _try_lock(lock):\n",
        "            if True:\n",
        "tests/files/test_atomic.py::test_what_a_killed_command_left_is_removed_and_what_is_being_written_stays",
    ),
    Fault(
        "one file that cannot be written lets the others be replaced",
        f"{FILES}/atomic.py",
        "if (folder / file).is_dir()]:",
        "if (folder / file).is_symlink()]:",
        "tests/files/test_atomic.py::test_of_several_files_none_is_written_where_one_cannot_be",
    ),
    Fault(
        "locks follow links",
        f"{FILES}/locks.py",
        " | os.O_NOFOLLOW",
        "",
        "tests/files/test_locks.py::test_planted_link_is_not_followed",
    ),
    Fault(
        "any process may train under another's lock",
        f"{FILES}/fold_lock.py",
        "if file.read_text().strip() == str(os.getppid()):",
        "if file.read_text().strip() != str(os.getppid()):",
        "tests/files/test_fold_lock.py",
    ),
    Fault(
        "validation does not ask who else works on the fold",
        f"{TRAINERS}/base.py",
        "        self._lock_fold()\n        if self.is_ddp:",
        "        if self.is_ddp:",
        "tests/trainers/test_base.py::test_fold_in_training_is_refused_before_anything_is_written",
    ),
    Fault(
        "validation of several ranks waits for a rank without cases",
        f"{TRAINERS}/base.py",
        "            self.network.broadcast_buffers = False",
        "            pass",
        "tests/trainers/test_base.py::test_ranks_do_not_wait_for_each_other_in_the_passes_of_validation",
    ),
    Fault(
        "workers of data loaders go on after their training was killed",
        f"{TRAINERS}/base.py",
        "        with forked_processes_end_with_this_one():\n            return super().get_dataloaders()",
        "        return super().get_dataloaders()",
        "tests/trainers/test_base.py::test_workers_of_the_data_loaders_end_with_a_killed_training",
    ),
    Fault(
        "intervals of a study draw the same run for all of them",
        "nnunet_ext/evaluation/repeated_runs.py",
        "rng.integers(len(of_runs), size=(NUM_BOOTSTRAP_SAMPLES, len(of_runs), 1))",
        "np.broadcast_to(np.arange(len(of_runs))[:, None], (NUM_BOOTSTRAP_SAMPLES, len(of_runs), 1))",
        "tests/evaluation/test_repeated_runs.py::test_interval_draws_runs_and_cases_anew",
    ),
    Fault(
        "validation waits for a killed process that writes predictions",
        f"{TRAINERS}/base.py",
        "        with exit_when_a_child_is_killed(self._say_why_validation_ends):\n"
        "            super().perform_actual_validation(save_probabilities)",
        "        super().perform_actual_validation(save_probabilities)",
        "tests/trainers/test_base.py::"
        "test_validation_ends_with_a_message_when_a_process_that_writes_predictions_is_killed",
    ),
    Fault(
        "the end of a pool counts as the death of its workers",
        "nnunet_ext/parallel.py",
        "code < 0 and code != -signal.SIGTERM",
        "code < 0",
        "tests/test_parallel.py::test_pool_that_ends_its_workers_and_one_killed_later_end_nothing",
    ),
    Fault(
        "a process forked later keeps workers of a killed command alive",
        "nnunet_ext/parallel.py",
        # not closing it alone changes nothing: an end that nobody refers to closes itself
        "    ours.close()  # in every forked process, so that its parent alone has it\n"
        "    _pipe, end, _forked_end = None, ",
        "    end, _forked_end = ",
        "tests/test_parallel.py::test_forked_processes_of_the_block_end_with_theirs_and_no_others",
    ),
    Fault(
        "checkpoints can run code",
        f"{FILES}/checkpoint.py",
        'if not unknown:\n                content = torch.load(file, map_location="cpu", weights_only=True,',
        'if True:\n                content = torch.load(file, map_location="cpu", weights_only=False,',
        "tests/files/test_checkpoint.py::test_checkpoint_that_wants_to_run_code_is_refused_with_its_name_and_does_not",
    ),
    Fault(
        "checksums of weights are not compared",
        f"{FILES}/checkpoint.py",
        'if weights or "/data/" not in record.filename:',
        'if "/data/" not in record.filename:',
        "tests/files/test_checkpoint.py::test_damaged_weights_are_named_and_do_not_matter_where_they_are_not_needed",
    ),
    Fault(
        "a training goes on with another loss",
        f"{TRAINERS}/continuation.py",
        "found.minor if name in settings.changeable else found.major",
        "found.minor",
        f"{CONTINUATION}::test_other_network_or_loss_is_refused_before_anything_is_loaded",
    ),
    Fault(
        "a training goes on from a sibling's checkpoint",
        f"{TRAINERS}/continuation.py",
        'found.major.append(f"Trainer is',
        'found.minor.append(f"Trainer is',
        f"{CONTINUATION}::test_checkpoint_of_a_sibling_is_refused",
    ),
    Fault(
        "checkpoints keep the settings that a training started with",
        f"{TRAINERS}/base.py",
        "        self.made_with = made_with  #",
        "        #",
        f"{CONTINUATION}::test_who_asks_for_it_continues_with_changes_and_next_time_they_are_none",
    ),
    Fault(
        "a model is stripped into a folder of its own",
        "nnunet_ext/trained/strip.py",
        "output.resolve().is_relative_to(model.resolve())",
        "output == model",
        "tests/trained/test_strip.py::test_model_is_not_stripped_into_itself",
    ),
    Fault(
        "the largest label is cast before it is looked at",
        "nnunet_ext/labels/label_image.py",
        "LARGEST_LABEL = 65535",
        "LARGEST_LABEL = 65536",
        "tests/labels/test_label_image.py::test_value_that_no_label_can_have_raises_instead_of_becoming_another",
    ),
    Fault(
        "an image that is shorter than its header says is read as zeros",
        "nnunet_ext/images/reader.py",
        "if size < header.num_bytes:",
        "if size < 0:",
        "tests/images/test_reader.py::test_whole_gzip_file_of_a_short_image_raises",
    ),
    Fault(
        "nan is looked for where SimpleITK has made it 0",
        "nnunet_ext/images/reader.py",
        'return np.asanyarray(image.dataobj) if image.header.get_data_dtype().kind == "f" else array',
        "return array",
        "tests/images/test_case_check.py::test_values_that_are_not_finite_are_counted",
    ),
    Fault(
        "a training case with swapped channels is compared with itself",
        "nnunet_ext/checking/unlike_training.py",
        "for name, shapes in training.shapes.items() if name != case]",
        "for name, shapes in training.shapes.items()]",
        "tests/checking/test_unlike_training.py::test_case_is_not_compared_with_itself_nor_with_fewer_than_three",
    ),
    Fault(
        "a pickle calls what it may name",
        f"{FILES}/restricted_pickle.py",
        "        return found\n",
        "        return super().find_class(module, name)\n",
        "tests/files/test_restricted_pickle.py::test_no_program_runs_even_if_its_name_is_known",
    ),
    Fault(
        "plans may name what lies behind a network's module",
        "nnunet_ext/plans/network_entry.py",
        "issubclass(found, nn.Module))",
        "found is not None)",
        "tests/plans/test_network_entry.py::test_plans_that_name_programs_are_refused_with_the_name",
    ),
    Fault(
        "outputs go through links",
        f"{FILES}/atomic.py",
        "if place.is_symlink():",
        "if False:",
        "tests/files/test_atomic.py::test_folder_of_the_user_may_be_a_link_and_no_folder_in_it",
    ),
    Fault(
        "workers outlive a killed command",
        "nnunet_ext/parallel.py",
        "    Thread(target=_exit_when_closed, args=(command,), daemon=True).start()\n",
        "",
        "tests/test_parallel.py::test_no_worker_outlives_its_command",
    ),
)

HEALTH, FINDINGS = "tests/trainers/test_health.py", "tests/trainers/test_health_findings.py"
HEALTH_FAULTS = (
    Fault(
        "saturated probabilities are those near 1 alone",
        f"{TRAINERS}/health.py",
        "saturated = logits.abs() > -math.log(SATURATION)",
        "saturated = logits > -math.log(SATURATION)",
        f"{HEALTH}::test_regions_by_hand",
    ),
    Fault(
        "region that is absent from the batch counts as one without gradient",
        f"{TRAINERS}/health.py",
        "self._gradients.append(torch.stack([torch.zeros_like(is_there), is_there]))",
        "self._gradients.append(torch.stack([torch.zeros_like(is_there), torch.ones_like(is_there)]))",
        f"{HEALTH}::test_regions_by_hand",
    ),
    Fault(
        "component's share is over all parameters, not those that all components train",
        f"{TRAINERS}/health.py",
        "(of_components != 0).all(0)",
        "(of_components != 0).any(0)",
        f"{HEALTH}::test_shares_are_those_of_the_parameters_that_all_components_train",
    ),
    Fault(
        "epochs of a fault need not be in a row",
        f"{TRAINERS}/health_findings.py",
        "since = {kind: since.get(kind, epoch) for kind in faults}",
        "since |= {kind: since.get(kind, epoch) for kind in faults}",
        f"{FINDINGS}::test_shorter_faults_are_not_named",
    ),
    Fault(
        "convolution to the logits keeps the variance of the unnormalized features",
        f"{ARCHITECTURES}/segresnet_vae.py",
        "keep_variance(module.to_logits, LOGITS_SCALE)",
        "keep_variance(module.to_logits)",
        "tests/architectures/test_initialization.py"
        "::test_logits_of_the_network_without_last_normalization_start_where_the_sigmoid_has_a_gradient",
    ),
)

STUDY_TESTS = "tests/study/test_study.py"

STUDY_FAULTS = (
    Fault(
        "a study scores one seed of several",
        "nnunet_ext/study/rows.py",
        old="pd.concat(scores)",
        new="pd.concat(scores[:1])",
        test=f"{STUDY_TESTS}::test_scores_count_a_case_once_with_its_mean_over_the_seeds",
    ),
    Fault(
        "differences of a study have the wrong sign",
        "nnunet_ext/study/rows.py",
        old="compare(mean, plain)",
        new="compare(plain, mean)",
        test=f"{STUDY_TESTS}::test_differences_are_paired_with_plain_nnunet",
    ),
    Fault(
        "plain nnU-Net of a study drops modalities",
        "nnunet_ext/workflow/choices.py",
        old="[*plain, PLAIN_SETTING]",
        new="plain",
        test="tests/workflow/test_choices.py::test_study_trains_plain_nnunet_and_every_trainer_with_every_seed",
    ),
    Fault(
        "a slow trainer of a study at equal time trains longer",
        "nnunet_ext/study/equal_time.py",
        old="seconds[plain.name] / seconds[other.name]",
        new="seconds[other.name] / seconds[plain.name]",
        test="tests/study/test_equal_time.py::test_others_get_the_epochs_that_take_as_long",
    ),
    Fault(
        "times of another data set count for equal time",
        "nnunet_ext/study/equal_time.py",
        old="""row["dataset"] != dataset""",
        new="False",
        test="tests/study/test_equal_time.py::test_times_of_other_trainings_are_refused",
    ),
    Fault(
        "the time of a training is that of one epoch",
        "nnunet_ext/study/repeats.py",
        old="sum(seconds) for seconds",
        new="max(seconds) for seconds",
        test=f"{STUDY_TESTS}::test_costs_are_counted_and_time_is_that_of_the_epochs",
    ),
    Fault(
        "a study at equal steps takes different numbers of steps",
        "nnunet_ext/study/repeats.py",
        old="if not equal_time and len(steps",
        new="if equal_time and len(steps",
        test=f"{STUDY_TESTS}::test_other_numbers_of_steps_are_refused",
    ),
    Fault(
        "processes that train together drop the same modalities",
        f"{AUGMENTATION}/modality_dropout.py",
        old="2**63, rank, epoch]",
        new="2**63, epoch]",
        test=f"{DISTRIBUTED}::test_processes_drop_different_modalities_and_train_one_network",
    ),
    Fault(
        "the seed of a training is not used",
        f"{TRAINERS}/base.py",
        old="            seed_everything(self.settings.seed + self.local_rank)\n",
        new="            pass\n",
        test="tests/trainers/test_base.py::test_seed_decides_weights_and_draws",
    ),
)

SLICES = "nnunet_ext/trained/slice_probabilities.py"
SLICE_FAULTS = (
    Fault(
        "slices are counted along the network's axis, not the file's",
        SLICES,
        'file_axis = model.plans["transpose_forward"][axis]',
        "file_axis = axis",
        "tests/trained/test_slices.py::test_gate_by_hand",
    ),
    Fault(
        "probabilities of folds are averaged, not logits",
        SLICES,
        "torch.sigmoid(slice_logits.mean(plane)).numpy()",
        "torch.stack([torch.sigmoid(m[(slice(None), *unpad[1:])][-len(regions) :]) for m in means])"
        ".mean(0).mean(plane).numpy()",
        "tests/trained/test_slices.py::test_folds_are_averaged_as_logits",
    ),
)

MOVED, TRANSFER = "nnunet_ext/trained/moved_weights.py", "tests/trained/test_transfer.py"
TRANSFER_FAULTS = (
    Fault(
        "first kernels are moved by position",
        MOVED,
        "parts[origin.known[channel]] if channel in origin.known else mean for",
        "parts.get(channel, mean) for",
        f"{TRANSFER}::test_other_order_of_channels_predicts_the_same",
    ),
    Fault(
        "new modalities add to the response",
        MOVED,
        "return len(self.mean) / self.images if self.num_new else 1.0",
        "return 1.0",
        f"{TRANSFER}::test_new_modalities_start_at_the_mean_of_the_known_ones_and_the_response_keeps_its_size",
    ),
    Fault(
        "dropped modalities scale those that stay",
        MOVED,
        "return len(self.mean) / self.images if self.num_new else 1.0",
        "return 4 / self.images",
        f"{TRANSFER}::test_dropped_modalities_count_as_missing_ones",
    ),
    Fault(
        "heads are kept by position",
        MOVED,
        "rows.get(same.get(channel, -1), draw)",
        "rows.get(channel, draw)",
        f"{TRANSFER}::test_heads_are_kept_row_by_row_where_names_agree",
    ),
    Fault(
        "branches stay in their places",
        "nnunet_ext/trained/correspondence.py",
        "np.array(shared) + in_place",
        "in_place",
        f"{TRANSFER}::test_branches_of_pairing_change_places_with_their_modalities",
    ),
)

SCREEN = (
    Fault(
        "tables are cut on a narrow screen",
        "nnunet_ext/tables.py",
        "if room < 0:",
        "if room < -1000:",
        "tests/cli/test_narrow_screen.py::test_evaluate",
    ),
    Fault(
        "a column's blanks are not counted",
        "nnunet_ext/tables.py",
        "room = width - sum(least) - 3 * len(least) - 1",
        "room = width - sum(least)",
        "tests/test_tables.py::test_table_is_a_table_down_to_its_last_column",
    ),
    Fault(
        "notes mix with JSON",
        "nnunet_ext/tables.py",
        "file=sys.stderr if as_json else sys.stdout",
        "file=sys.stdout",
        "tests/test_tables.py::test_json_stands_alone_on_standard_output",
    ),
    Fault(
        "progress bars write into logs",
        "nnunet_ext/progress.py",
        "    if not console.is_terminal:  # Rich",
        "    if False:  # Rich",
        "tests/test_progress.py::test_logs_get_nothing",
    ),
)

MODALITIES = "nnunet_ext/plans/modalities.py"
MODALITY_TESTS = "tests/plans/test_modalities.py"
MODALITY_FAULTS = (
    Fault(
        "the paper's branches are taken only where all four modalities are there",
        MODALITIES,
        "if all(groups) and sum(map(len, groups)) == len(names):",
        "if all(groups) and len(names) == 4:",
        f"{MODALITY_TESTS}::test_the_papers_modalities_are_grouped_by_name_in_any_order_and_number",
    ),
    Fault(
        "what the method does not have joins its second branch",
        MODALITIES,
        "return [groups[0] + others, *groups[1:]], why",
        "return [groups[0], groups[1] + others], why",
        f"{MODALITY_TESTS}::test_other_known_modalities_are_grouped_by_kind_and_named",
    ),
    Fault(
        "diffusion is of the kind of T2",
        MODALITIES,
        '("FLAIR", "T2", "PD", "T2star", "SWI"),',
        '("FLAIR", "T2", "PD", "T2star", "SWI", "DWI", "ADC"),',
        f"{MODALITY_TESTS}::test_other_known_modalities_are_grouped_by_kind_and_named",
    ),
)

PROVENANCE = (
    Fault(
        "another commit makes plans others",
        "nnunet_ext/plans/plans_difference.py",
        'if name == f"{PLANS_KEY}.{WRITTEN_BY}":',
        "if False:",
        "tests/planning/test_plans_file.py::test_plans_say_who_wrote_them_and_another_commit_makes_them_no_others",
    ),
    Fault(
        "a changed checkout passes for its commit",
        "nnunet_ext/version.py",
        'return f"{found}+changes" if',
        "return found if",
        "tests/test_version.py::test_checkout_comes_before_the_build_and_says_whether_it_has_changed",
    ),
    Fault(
        "a package without its commit passes for complete",
        "tools/packages.py",
        'if name.startswith("nnunet_ext/")} | {COMMIT}',
        'if name.startswith("nnunet_ext/")}',
        "tests/test_packages.py::test_what_lacks_is_named",
    ),
)

FROM_SIZES = f"{NETWORKS}/test_from_sizes.py"
PYTHON_FAULTS = (
    Fault(
        "axes are halved below four voxels",
        f"{ARCHITECTURES}/sizes.py",
        "halved = [side >= 2 * SHORTEST for side in size]",
        "halved = [side >= SHORTEST for side in size]",
        f"{FROM_SIZES}::test_strides_are_those_of_nnunets_planner_for_equal_spacing",
    ),
    Fault(
        "networks in one call keep PyTorch's initialization",
        f"{ARCHITECTURES}/method_network.py",
        "return network.apply(network.initialize)",
        "return network",
        f"{FROM_SIZES}::test_convolutions_are_initialized",
    ),
    Fault(
        "a network in one call has other widths than in plans",
        f"{ARCHITECTURES}/method_network.py",
        "derived = {**cls.topology(planned), ",
        "derived = {**planned, **cls.topology(planned), **{'features_per_stage': planned['features_per_stage']}, ",
        f"{FROM_SIZES}::test_network_is_the_one_that_the_trainer_puts_into_the_plans",
    ),
)

TYPED_FAULTS = (
    Fault(
        "a command to type is not quoted",
        "nnunet_ext/shells.py",
        old='" ".join(quote(str(word)) for word in words)',
        new='" ".join(str(word) for word in words)',
        test="tests/test_names.py::test_commands_to_type_have_names_as_one_word",
    ),
    Fault(
        "a workflow is written where a cluster would run the name of its folder",
        "nnunet_ext/workflow/write.py",
        old="    check_workflow_folder(folder.resolve())\n",
        new="",
        test="tests/workflow/test_write.py::test_folders_that_snakemake_does_not_work_in_are_refused",
    ),
    Fault(
        "only the last part of a workflow's folder is looked at",
        "nnunet_ext/workflow/write.py",
        old="check_workflow_folder(folder.resolve())",
        new="check_workflow_folder(Path(folder.name))",
        test="tests/workflow/test_write.py::test_folders_that_snakemake_does_not_work_in_are_refused",
    ),
)

MEMORY_SHARE, SHARE_TESTS = "nnunet_ext/planning/memory_share.py", "tests/planning/test_memory_share.py"
MEMORY_FAULTS = (
    Fault(
        "the share of memory is rounded up",
        MEMORY_SHARE,
        '100 * row["estimated_bytes"] // held_bytes(row)',
        '-(-100 * row["estimated_bytes"] // held_bytes(row))',
        f"{SHARE_TESTS}::test_share_is_the_least_of_all_steps_rounded_down",
    ),
    Fault(
        "the share of memory leaves no room for what was not measured",
        MEMORY_SHARE,
        "min(*hundredths, round(100 * MOST))",
        "min(*hundredths, 100)",
        f"{SHARE_TESTS}::test_share_leaves_room_for_what_is_in_no_measured_step",
    ),
    Fault(
        "plans fill the whole memory whatever share was measured",
        "nnunet_ext/planning/planner.py",
        "self.target = self.memory_share * gpu_memory",
        "self.target = gpu_memory",
        "tests/planning/test_planner.py::test_the_file_decides_how_much_of_the_target_plans_fill",
    ),
)

FAULTS = (
    *UNCERTAINTY_FAULTS,
    *SEVERAL_PROCESSES,
    *TRAINING,
    *AUGMENTATIONS,
    *INITIAL_WEIGHTS,
    *NETWORK_FAULTS,
    *LOSS_FAULTS,
    *FILE_FAULTS,
    *HEALTH_FAULTS,
    *STUDY_FAULTS,
    *TYPED_FAULTS,
    *SLICE_FAULTS,
    *TRANSFER_FAULTS,
    *SCREEN,
    *MODALITY_FAULTS,
    *PROVENANCE,
    *PYTHON_FAULTS,
    *MEMORY_FAULTS,
)
