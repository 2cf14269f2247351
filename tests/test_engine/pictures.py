"""Runs on the digits that draw pictures of the simplified targets."""

import random

import numpy as np
import torch
from mmpretrain.registry import TRANSFORMS

HOOK = dict(type='mmrazor.SimplifierVisualizationHook', interval=1)


@TRANSFORMS.register_module()
class DrawNumbers:
    """Draws from every generator that a transform can draw from."""

    def __call__(self, results):
        random.random(), np.random.rand(), torch.rand(1)
        return results


def options(*hooks, **others):
    """Without ``EpochSeedHook``, which would hide that numbers were drawn."""
    pipeline = [dict(type='DrawNumbers'), dict(type='PackInputs')]
    return {
        'custom_hooks': [*hooks],
        'val_dataloader.dataset.pipeline': pipeline,
        # A dropout makes the student depend on torch's generator.
        'model.architecture.backbone.drop_path_rate': 0.5,
        **others,
    }


def pictures(work_dir):
    return sorted(path.name for path in work_dir.glob('*/vis_data/vis_image/*.png'))
