"""The labels of losses that need one class index for each image."""

from torch import Tensor

from ...utils import expect


def expect_class_indices(key: str, labels: Tensor, num_samples: int) -> None:
    """Refuses the labels of Mixup, CutMix, one-hot targets and of several classes.

    Args:
        key (str): What to call the labels in the error.
        labels (Tensor): One class index for each sample.
        num_samples (int): Number of samples.

    Raises:
        ValueError: They are scores, or not one index for each sample.
    """
    valid = not labels.is_floating_point() and labels.numel() == num_samples
    found = f'{labels.dtype} of shape {tuple(labels.shape)}'
    expected = (
        f'class indices of shape ({num_samples},): Mixup, CutMix (batch_augments, or '
        'train_cfg.augments), to_onehot and multi-label targets have none; KLDivergence needs none'
    )
    expect(valid, key, found, expected)
