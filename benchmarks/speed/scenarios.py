"""The pairs of networks that are timed: their configs, and a batch for them."""

from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.config import Config
from mmpretrain.structures import DataSample

from skd_mmrazor.datasets.augmentation_seed import VIEW

from ..compatibility.run_configs import drop_weights

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


@dataclass(frozen=True)
class Scenario:
    """A pair of networks at a size.

    Attributes:
        pair (str): What follows the method, such as ``kd_``, in the config's name.
        size (int): Height and width of the images.
        classes (int): Number of classes.
        batch (int): Images per step, on a CPU.
        gpu_batch (int): Images per step, on a GPU.
        eval_mode (bool): Whether the hook turns the teacher's drop path off. With drop
            path, half precision and compilation would change the random numbers.
    """

    pair: str
    size: int
    classes: int
    batch: int
    gpu_batch: int
    eval_mode: bool = False


SCENARIOS = {
    'resnet': Scenario('resnet34_resnet18_imagenet', 224, 1000, 8, 128),
    'cifar': Scenario('resnet32x4_resnet8x4_240e_cifar100', 32, 100, 64, 64),
    'deit': Scenario('deit-base_deit-tiny_imagenet', 224, 1000, 4, 64, eval_mode=True),
}


def make_batch(scenario: Scenario, size: int) -> dict:
    """Random images with labels, collated, with the meta information for a stored teacher."""
    images = torch.randint(256, (size, 3, scenario.size, scenario.size), dtype=torch.uint8)
    labels = torch.randint(scenario.classes, (size,))
    samples = [
        DataSample(metainfo={'sample_idx': i, VIEW: 0}).set_gt_label(label)
        for i, label in enumerate(labels)
    ]
    return dict(inputs=list(images), data_samples=samples)


def load(scenario: Scenario, method: str, amp: str = '') -> Config:
    """Reads a config and takes out the data, the weights and the schedule.

    Args:
        scenario (Scenario): The pair.
        method (str): ``'kd'``, ``'dkd'``, ``'skd_kd'`` or ``'skd_dkd'``.
        amp (str): ``'bfloat16'`` or ``'float16'`` for autocast. Defaults to ''.
    """
    (path,) = CONFIGS.rglob(f'{method}_{scenario.pair}.py')
    cfg = Config.fromfile(path)
    drop_weights(cfg.model)
    # The hand-written loop has no batch augmentation.
    cfg.model.get('architecture', {}).pop('train_cfg', None)
    cfg.model.setdefault('data_preprocessor', cfg.get('data_preprocessor'))
    cfg.model.data_preprocessor.pop('batch_augments', None)
    cfg.image_size = scenario.size
    if amp:
        cfg.optim_wrapper.update(type='AmpOptimWrapper', dtype=amp)
    return cfg
