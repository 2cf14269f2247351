"""Runs with ``FrozenTeacherHook``, of a teacher whose batch norms are those of a trained one."""

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.nn.modules.batchnorm import _BatchNorm

from ..conftest import algorithm, distiller
from .runs import KL, run_config, student, teacher

OFF = dict(fold_bn=False, skip_loss=False)
EAGER = dict(backend='aot_eager')
DATA = dict(type='mmpretrain.ClsDataPreprocessor', num_classes=10, mean=[78.4], std=[96.1])


class TrainedNorms(Hook):
    """Gives the teacher the batch norms of a trained one, and keeps its copy."""

    priority = 'VERY_HIGH'

    def before_train(self, runner):
        generator = torch.Generator(next(runner.model.parameters()).device).manual_seed(1)
        for name, module in runner.model.named_modules():
            norm = isinstance(module, _BatchNorm) and not runner._resume
            if norm and name.startswith('teacher.'):
                module.running_mean.normal_(std=0.2, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)

    def after_train_iter(self, runner, *args, **kwargs):
        self.frozen = next((h.frozen for h in runner.hooks if hasattr(h, 'frozen')), None)


def active(runner):
    """The parts that are in effect, observed in the copy."""
    frozen = runner.norms.frozen
    weight = frozen.module.backbone.layer1[0].conv1.weight
    seen = dict(
        fold_bn=not any(isinstance(m, _BatchNorm) for m in frozen.module.modules()),
        skip_loss=frozen.mode == 'tensor',
        channels_last=weight.is_contiguous(memory_format=torch.channels_last),
        dtype=weight.dtype is torch.bfloat16,
        compile=frozen._run is not frozen.module,
    )
    return {name for name, on in seen.items() if on}


def run(work_dir, hook=None, **settings):
    hooks = [] if hook is None else [dict(type='mmrazor.FrozenTeacherHook', **hook)]
    runner = Runner.from_cfg(run_config(work_dir, custom_hooks=hooks, **settings))
    runner.norms = TrainedNorms()
    runner.register_hook(runner.norms)
    runner.train()
    return runner


def model(losses=KL, teacher_recorders=(), deliveries=None, **arguments):
    cfg = distiller(losses, simplifier=dict(type='AttentionSimplifierConnector'))
    cfg['teacher_recorders'].update(teacher_recorders)
    cfg['distill_deliveries'] = deliveries
    arguments = dict(dict(architecture=student(), teacher=teacher()), **arguments)
    return dict(model=algorithm(cfg, data_preprocessor=DATA, **arguments))


def teacher_with_dropout():
    backbone = dict(
        type='VisionTransformer',
        arch=dict(embed_dims=16, num_layers=1, num_heads=2, feedforward_channels=16),
        img_size=8,
        patch_size=4,
        in_channels=1,
        drop_rate=0.5,
    )
    return dict(
        teacher(), backbone=backbone, neck=None, head=dict(teacher()['head'], in_channels=16)
    )


def teacher_of(conv):
    cfg = teacher()
    cfg['backbone'].update(conv_cfg=conv, norm_cfg=dict(type='BN'))
    return cfg


LABELS = dict(labels=dict(type='ModuleInputs', source='head.loss_module'))
