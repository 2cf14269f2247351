"""Runs with ``StoredTeacherHook``, which count the images that the teacher is run on."""

import contextlib
from pathlib import Path

import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.runner import Runner

from skd_mmrazor.engine import StoredTeacherHook

from ..conftest import algorithm, distiller
from .frozen_teachers import DATA
from .runs import KL, loader, run_config, student, teacher

CROP = dict(type='RandomCrop', crop_size=8, padding=1)
FLIP = dict(type='RandomFlip', prob=0.5, direction='horizontal')
PACK = dict(type='PackInputs')
LOSSES = {
    'skd_kd': (KL, True),
    'kd': (KL, False),
    'skd_dkd': (dict(loss_dkd=dict(type='DKDLoss', tau=4)), True),
    'skd_dist': (dict(loss_dist=dict(type='DISTLoss', tau=2)), True),
    'skd_wsld': (dict(loss_wsld=dict(type='WSLD', tau=2, num_classes=10)), True),
}


STORE = dict(type='mmrazor.StoreTeacherLoop', max_epochs=2)


class Watch(Hook):
    """Counts the images that the teacher is run on, and keeps their logits."""

    def before_train(self, runner):
        self.images, self.logits, self.samples = 0, {}, None
        if hasattr(runner.model, 'teacher'):
            runner.model.teacher.head.fc.register_forward_hook(self.keep)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.samples = data_batch['data_samples']

    def keep(self, module, inputs, logits):
        if self.samples is not None:
            self.images += len(logits)
            if len(logits) == len(self.samples):
                keys = [(s.augmentation_view, s.sample_idx) for s in self.samples]
                self.logits.update(zip(keys, logits.detach().clone(), strict=True))

    def after_train_epoch(self, runner):
        self.samples = None


def model(losses=KL, skd=True, teacher_recorders=(), deliveries=None, **arguments):
    cfg = distiller(losses, skd)
    cfg['teacher_recorders'].update(teacher_recorders)
    cfg['distill_deliveries'] = deliveries
    arguments = dict(dict(architecture=student(), teacher=teacher()), **arguments)
    return algorithm(cfg, **dict(dict(data_preprocessor=DATA), **arguments))


def data(pipeline=(CROP, FLIP), size=32, **settings):
    found = loader('train', size, 8)
    found['dataset']['pipeline'] = [*pipeline, PACK]
    found['sampler']['shuffle'] = True
    return dict(found, **settings)


def build(work_dir, path, epochs=2, hook=(), hooks=(), **settings):
    hook = dict(type='mmrazor.StoredTeacherHook', path=str(path), **dict(hook))
    settings = {
        'model': model(),
        'train_dataloader': data(),
        'train_cfg': dict(by_epoch=True, max_epochs=epochs),
        # The teacher is of this seed; a student of another has to be built so.
        'randomness': dict(seed=0),
        # In whichever order a config has them.
        'custom_hooks': [hook, *hooks],
        **settings,
    }
    runner = Runner.from_cfg(run_config(work_dir, **settings))
    runner.watch = Watch()
    runner.register_hook(runner.watch, 'VERY_HIGH')
    return runner


def run(*arguments, **settings):
    runner = build(*arguments, **settings)
    runner.train()
    return runner


def get_store(runner):
    return next(h for h in runner.hooks if isinstance(h, StoredTeacherHook)).store


def get_log(runner):
    (log,) = Path(runner.log_dir).glob('*.log')
    return log.read_text()


VALIDATION = dict(
    val_dataloader=loader('val', 16, 8),
    val_evaluator=dict(type='Accuracy', topk=(1,)),
    val_cfg=dict(type='mmrazor.FrozenTeacherValLoop'),
)


@OPTIM_WRAPPERS.register_module(force=True)
class AutocastOnCPU(OptimWrapper):
    """What mmengine's has for GPUs alone."""

    @contextlib.contextmanager
    def optim_context(self, model):
        with super().optim_context(model), torch.autocast('cpu', torch.bfloat16):
            yield
