"""Counts and scores of slices."""

import math

import numpy as np
import torch

from nnunet_ext.losses.slice_classification import SliceLabels
from nnunet_ext.trainers.slice_scores import count_slices, slice_scores


def test_counts_of_each_kind_and_region_leave_ignored_slices_out():
    logits = torch.tensor([[[1.0, 2.0, -1.0, 0.0, 5.0], [-1.0, -1.0, -1.0, 3.0, -5.0]]])  # shape: (1, 2, 5)
    positive = torch.tensor([[[1, 0, 1, 0, 0], [0, 0, 1, 1, 1]]]).bool()
    counted = torch.tensor([[[1, 1, 1, 1, 0]]]).bool()
    counts = count_slices(logits, SliceLabels(positive, counted))
    # region 0: hit, false alarm, miss, right rejection (0 is not above 0.5), ignored
    # region 1: two right rejections, miss, hit, ignored
    assert counts.tolist() == [[1, 1], [1, 0], [1, 1], [1, 2]]


def test_scores_of_known_counts():
    scores = slice_scores(np.array([[6], [1], [2], [3]]))
    assert scores.accuracy == [9 / 12]
    assert scores.sensitivity == [6 / 8]
    assert scores.specificity == [3 / 4]


def test_scores_without_slices_of_a_kind_are_nan():
    scores = slice_scores(np.array([[0], [0], [0], [3]]))
    assert scores.accuracy == [1]
    assert math.isnan(scores.sensitivity[0])
    assert scores.specificity == [1]
