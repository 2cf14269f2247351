"""The same method by this project's config, its runner and its hooks."""

import contextlib
import io
import tempfile
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmpretrain.structures import DataSample
from torch import nn

from ..speed.runners import by_runner
from .cifar_networks import convert
from .references import Batch, get_arch

CONFIGS = Path(__file__).resolve().parents[2] / 'configs' / 'cifar100'
PAIRS = sorted(path.stem.split('_', 1)[1][:-14] for path in CONFIGS.glob('kd_*_240e_cifar100.py'))
FEATURES = 'resnet32x4_resnet8x4'  # The pair that feature methods have configs for.


class Ours:
    """A config of ``configs/cifar100``, with the weights of a reference.

    Args:
        method (str): The method, as in the config's name.
        pair (str): The networks.
        reference (MDistiller or RepDistiller): Before it computes in float64.
    """

    def __init__(self, method: str, pair: str, reference: Any) -> None:
        cfg = Config.fromfile(CONFIGS / f'{method}_{pair}_240e_cifar100.py')
        cfg.image_size = 32
        # The images are normalised: both sides take the same tensors.
        cfg.model.data_preprocessor = dict(type='BaseDataPreprocessor')
        teacher, student = (get_arch(name) for name in pair.split('_'))
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            cfg.model.teacher_ckpt = f'{folder}/teacher.pth'
            weights = convert(reference.teacher.state_dict(), teacher)
            torch.save(dict(state_dict=weights), cfg.model.teacher_ckpt)
            self.run_iter, runner = by_runner(cfg)
        self.model = runner.model
        self.arch = student
        self.model.student.load_state_dict(convert(reference.student.state_dict(), student))
        distiller = self.model.distiller
        for name, theirs in reference.modules.items():
            part = (
                distiller.connectors if name in distiller.connectors else distiller.distill_losses
            )
            module: nn.Module = part[name]
            # Of the same parts in the same order; CRD's loss holds the memory alone.
            state = zip(module.state_dict(), theirs.state_dict().values(), strict=True)
            module.load_state_dict(dict(state))
        self.model.double()

    @staticmethod
    def _collate(batch: Batch) -> dict[str, Any]:
        samples = [
            DataSample(sample_idx=index, contrast_sample_idxs=negatives).set_gt_label(label)
            for _, label, index, negatives in zip(*batch, strict=True)
        ]
        return dict(inputs=batch[0], data_samples=samples)

    def compute(self, batch: Batch) -> tuple[float, float]:
        """The terms of the labels and of the distillation, weighted, in the first epoch."""
        with contextlib.redirect_stdout(io.StringIO()):
            losses = self.model(**self._collate(batch), mode='loss')
        terms = [v.item() for k, v in losses.items() if k.startswith('distill.loss')]
        return losses['student.loss'].item(), sum(terms)

    def step(self, batch: Batch) -> None:
        """Makes a step of mmengine's loop."""
        with contextlib.redirect_stdout(io.StringIO()):
            self.run_iter(self._collate(batch))

    def compare(self, reference: Any) -> tuple[float, float]:
        """The largest difference of the student's parameters, and of its running statistics.

        Returns:
            tuple[float, float]: Each over the largest value among them.
        """
        theirs = convert(reference.student.state_dict(), self.arch)
        ours = self.model.student.state_dict()
        found = []
        for is_statistic in (False, True):
            keys = [k for k in ours if ('running' in k) == is_statistic and 'tracked' not in k]
            largest = max(theirs[key].abs().max().item() for key in keys)
            error = max((ours[key] - theirs[key]).abs().max().item() for key in keys)
            found.append(error / largest)
        return found[0], found[1]


def make_batch(seed: int, size: int, num_images: int = 50_000) -> Batch:
    """Random images, labels and, for CRD, which images they and their negatives are."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(size, 3, 32, 32, dtype=torch.float64, generator=generator)
    labels = torch.randint(100, (size,), generator=generator)
    index = torch.randperm(num_images, generator=generator)[:size]
    negatives = torch.randint(num_images, (size, 16384), generator=generator)
    return images, labels, index, torch.cat([index[:, None], negatives], dim=1)
