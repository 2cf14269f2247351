"""What the teacher's logits may depend on beside image and view is refused by name."""

import itertools
import random

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from mmengine.registry import FUNCTIONS, TRANSFORMS
from mmpretrain.models import ClsDataPreprocessor, LinearClsHead
from mmpretrain.registry import MODELS

from skd_mmrazor.engine import StoredTeacherHook

from .frozen_teachers import DATA, teacher_with_dropout
from .runs import student, teacher
from .stored_teachers import build, data, model, run


@TRANSFORMS.register_module(force=True)
class DrawElsewhere:
    """Does not draw as the hook seeds it, and never twice the same."""

    draws = itertools.count(1)

    def __call__(self, results):
        return dict(results, img=np.float32(results['img']) / next(self.draws))


@TRANSFORMS.register_module(force=True)
class DrawSeldom(DrawElsewhere):
    """As an augmentation of few images may do."""

    def __call__(self, results):
        return super().__call__(results) if results['sample_idx'] == 50 else results


@MODELS.register_module(force=True)
class DrawingHead(LinearClsHead):
    """Drops out by other random numbers than torch's, in evaluation mode too, or none."""

    def __init__(self, draw, **arguments):
        super().__init__(**arguments)
        self.draw = dict(
            python=lambda x: x * random.uniform(0.5, 1.5),
            numpy=lambda x: x * np.random.uniform(0.5, 1.5),
            always=lambda x: torch.dropout(x, 0.5, True),
            nan=lambda x: x / 0 * 0,
            nothing=lambda x: x - x.mean(dim=0),
        )[draw]

    def pre_logits(self, feats):
        return self.draw(super().pre_logits(feats))


@MODELS.register_module(force=True)
class DrawingPreprocessor(ClsDataPreprocessor):
    """Changes the brightness of a batch in training, as mmdet's changes its size."""

    def forward(self, data, training=False):
        data = super().forward(data, training)
        return dict(data, inputs=data['inputs'] * random.uniform(0.5, 1.5)) if training else data


@FUNCTIONS.register_module(force=True)
def collate_mixed(batch):
    """Makes each image depend on those that are in its batch."""
    return pseudo_collate(batch)


def drawing(draw):
    cfg = teacher()
    cfg['head'].update(type='mmpretrain.DrawingHead', draw=draw)
    return model(teacher=cfg)


FEATURES = dict(stage=dict(type='ModuleOutputs', source='backbone.layer1'))
POOLED = dict(pooled=dict(type='ModuleOutputs', source='neck.gap'))
LABELS = dict(labels=dict(type='ModuleInputs', source='head.loss_module'))
MIXUP = dict(augments=dict(type='Mixup', alpha=0.8))
FROZEN = [dict(type='mmrazor.FrozenTeacherHook')]
REPEATED = dict(type='RepeatDataset', times=2, dataset=data()['dataset'])
REFUSED = {
    'mixup': (
        dict(model=model(data_preprocessor=dict(DATA, batch_augments=MIXUP))),
        r"data_preprocessor.batch_augments=\['Mixup'\], expected none",
    ),
    'trainable': (
        dict(model=model(teacher_trainable=True)),
        'model.teacher_trainable=True, expected False',
    ),
    'norms': (
        dict(model=model(teacher_norm_eval=False)),
        'model.teacher_norm_eval=False, expected True',
    ),
    'dropout': (
        dict(model=model(teacher=teacher_with_dropout())),
        'eval_mode=False, expected True',
    ),
    'dropout by Python': (dict(model=drawing('python')), 'eval_mode=False, expected True'),
    'dropout by NumPy': (dict(model=drawing('numpy')), 'eval_mode=False, expected True'),
    'dropout in evaluation mode': (
        dict(model=drawing('always'), hook=dict(eval_mode=True)),
        'eval_mode=True, expected a teacher that draws no random numbers in evaluation mode',
    ),
    'dropout of a frozen copy': (
        dict(model=model(teacher=teacher_with_dropout()), hook=dict(eval_mode=True), hooks=FROZEN),
        'eval_mode=False, expected True',
    ),
    'the mean of the batch': (
        dict(model=drawing('nothing')),
        "logits of an image='different in another batch', expected the same, whatever the other",
    ),
    'broken weights': (
        dict(model=drawing('nan')),
        "records of the teacher='NaN or Inf', expected finite numbers",
    ),
    'features': (
        dict(model=model(teacher_recorders=FEATURES)),
        r"distiller.teacher_recorders.stage=\[.*\], expected the teacher's logits, .*alone",
    ),
    'pooled': (dict(model=model(teacher_recorders=POOLED)), 'distiller.teacher_recorders.pooled='),
    'labels': (dict(model=model(teacher_recorders=LABELS)), 'distiller.teacher_recorders.labels='),
    'draws': (
        dict(train_dataloader=data([dict(type='mmengine.DrawElsewhere')])),
        'train_dataloader.dataset.pipeline=.*, expected that Python, NumPy and torch draw all',
    ),
    'draws seldom': (
        dict(train_dataloader=data([dict(type='mmengine.DrawSeldom')], size=64)),
        'train_dataloader.dataset.pipeline=.*, expected that Python, NumPy and torch draw all',
    ),
    'draws for a batch': (
        dict(model=model(data_preprocessor=dict(DATA, type='mmpretrain.DrawingPreprocessor'))),
        'data_preprocessor=.different outputs for one batch., expected that it draws no random',
    ),
    'collated otherwise': (
        dict(train_dataloader=data(collate_fn=dict(type='collate_mixed'))),
        "train_dataloader.collate_fn='collate_mixed', expected 'pseudo_collate', 'default_collate'",
    ),
    'two stores': (
        dict(hooks=[dict(type='mmrazor.StoredTeacherHook', path='other')]),
        r"custom_hooks: path of each StoredTeacherHook=\[.*, 'other'\], expected one",
    ),
    'wrapper': (
        dict(train_dataloader=data(dataset=REPEATED)),
        "train_dataloader.dataset.type='RepeatDataset', expected a BaseDataset",
    ),
    'repeats': (
        dict(train_dataloader=data(sampler=dict(type='RepeatAugSampler', num_repeats=3))),
        "train_dataloader.sampler.type='RepeatAugSampler', expected 'DefaultSampler'",
    ),
    'iterations': (
        dict(train_cfg=dict(by_epoch=False, max_iters=4)),
        'StoredTeacherHook: train_cfg.by_epoch=False, expected True',
    ),
    'top_k': (dict(hook=dict(top_k=10)), 'top_k=10, expected less than the 10 classes'),
    'algorithm': (
        dict(model=dict(student(), data_preprocessor=DATA)),
        "model.type='ImageClassifier', expected 'SingleTeacherDistill'",
    ),
}


@pytest.mark.parametrize('reason', REFUSED)
def test_what_the_logits_may_depend_on_is_refused(tmp_path, reason):
    settings, message = REFUSED[reason]
    with pytest.raises(ValueError, match=f'StoredTeacherHook: {message}|^{message}'):
        run(tmp_path / 'run', tmp_path / 'store', **settings)
    assert not (tmp_path / 'store').exists()


class Change(Hook):
    def __init__(self, change):
        self.change = change

    def after_train_epoch(self, runner):
        self.change(runner)


def add_to_teacher(runner):
    next(runner.model.teacher.parameters()).data.add_(1)


def change_pipeline(runner):
    dataset = runner.train_dataloader.dataset
    dataset.pipeline = dataset.pipeline.pipeline


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (add_to_teacher, "weights of the teacher in epoch 2='others'"),
        (change_pipeline, "train_dataloader.dataset.pipeline='another'"),
    ],
)
def test_what_changes_in_training_ends_it(tmp_path, change, message):
    runner = build(tmp_path / 'run', tmp_path / 'store')
    runner.register_hook(Change(change))
    with pytest.raises(ValueError, match=f'StoredTeacherHook: {message}'):
        runner.train()


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('path', ''),
        ('dtype', 'bfloat16'),
        ('top_k', 0),
        ('views', 1.5),
        ('seed', -1),
        ('eval_mode', 1),
        ('offload', 'yes'),
    ],
)
def test_bad_arguments_are_named(key, value):
    with pytest.raises(ValueError, match=f'StoredTeacherHook: {key}={value!r}, expected'):
        StoredTeacherHook(**{'path': 'store', key: value})


def test_a_path_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(ValueError, match=r'StoredTeacherHook: path=.*file/store.*can be made'):
        run(tmp_path / 'run', tmp_path / 'file' / 'store')
