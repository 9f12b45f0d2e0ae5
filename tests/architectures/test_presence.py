"""Which modalities are there."""

import torch

from nnunet_ext.architectures.presence import first_present, present_modalities


def test_modality_is_missing_where_it_is_zero_everywhere_and_another_is_not():
    x = torch.zeros(3, 4, 2, 2)
    x[0, 0, 1, 1] = -1  # modality 0 alone
    x[0, 3] = 1  # not a modality
    x[1, 1:3] = 2
    # the third sample has nothing: a patch beside the brain
    assert present_modalities(x, 3).tolist() == [[True, False, False], [False, True, True], [True, True, True]]


def test_first_present_stream_follows_the_order():
    present = torch.tensor([[True, True, True], [False, True, True], [False, False, True]])
    streams = [[0], [1], [2]]
    assert first_present(present, streams, [0, 1, 2]).tolist() == [0, 1, 2]
    assert first_present(present, streams, [0, 2, 1]).tolist() == [0, 2, 2]
    assert first_present(present, [[0, 2], [1]], [1, 0]).tolist() == [1, 1, 0]
