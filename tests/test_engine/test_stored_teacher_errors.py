"""What the teacher's logits may depend on beside image and view is refused by name."""

import itertools
import random

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from mmengine.registry import FUNCTIONS, TRANSFORMS
from mmpretrain.models import ClsDataPreprocessor, LinearClsHead, RandomBatchAugment
from mmpretrain.registry import MODELS

from skd_mmrazor.engine import StoredTeacherHook

from .frozen_teachers import DATA, teacher_with_dropout
from .runs import student, teacher
from .stored_teachers import build, data, get_store, model, run


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


@TRANSFORMS.register_module(force=True)
class DrawByItself:
    """Has a generator of its own, and seldom does anything."""

    def __init__(self):
        self.rng = np.random.default_rng(0)

    def __call__(self, results):
        return dict(results, img=results['img'] // (2 if self.rng.random() < 1e-9 else 1))


@TRANSFORMS.register_module(force=True)
class CutSome:
    """Makes images of two sizes, of which the probe sees the second or not."""

    def __init__(self, first):
        self.first = first

    def __call__(self, results):
        cut = results['sample_idx'] >= self.first
        return dict(results, img=np.ascontiguousarray(results['img'][:6, :6])) if cut else results


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
            counts=self.count,
        )[draw]

    def count(self, x):
        self.fc.bias.data += 1
        return x

    def pre_logits(self, feats):
        return self.draw(super().pre_logits(feats))


@MODELS.register_module(force=True)
class DrawingPreprocessor(ClsDataPreprocessor):
    """Seldom changes the brightness of a batch in training."""

    def forward(self, data, training=False):
        data = super().forward(data, training)
        seldom = training and random.random() < 1e-9
        return dict(data, inputs=data['inputs'] * 2) if seldom else data


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
        'data_preprocessor=.draws random numbers., expected none',
    ),
    'draws by itself': (
        dict(train_dataloader=data([dict(type='mmengine.DrawByItself')])),
        r"train_dataloader.pipeline\[0\].rng.*='a .* of its own', expected none",
    ),
    'sizes': (
        dict(train_dataloader=data([dict(type='mmengine.CutSome', first=9)])),
        r'sizes of the images=\[\(1, 6, 6\), \(1, 8, 8\)\], expected one size',
    ),
    'changes itself': (
        dict(model=drawing('counts')),
        "weights and buffers of the teacher='change when it is run', expected constant ones",
    ),
    'an early hook': (
        dict(hook=dict(priority='VERY_HIGH'), hooks=FROZEN),
        "priority='VERY_HIGH', expected a lower one than that of FrozenTeacherHook",
    ),
    'offload beside a copy': (
        dict(hook=dict(offload=True), hooks=FROZEN),
        'offload=True, expected False beside a FrozenTeacherHook',
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
    def __init__(self, when, change):
        setattr(self, when, lambda runner, *batch, **more: change(runner))


def scale_teacher(runner):
    for parameter in runner.model.teacher.parameters():
        parameter.data.mul_(1.5)  # As averaging does: a version that torch counts does not change.


def get_images(runner):
    return runner.train_dataloader.dataset


def change_transform(runner):
    get_images(runner).pipeline.transforms[0].padding = 3


def change_pipeline(runner):
    get_images(runner).pipeline = get_images(runner).pipeline.pipeline


def change_mean(runner):
    runner.model.data_preprocessor.mean.fill_(10)


def train_norms(runner):
    for module in runner.model.teacher.modules():
        module.train()


def mix(runner):
    runner.model.data_preprocessor.batch_augments = RandomBatchAugment(MIXUP['augments'])


TEACHER, IMAGES = 'weights of the teacher in epoch', 'images of the pipeline and the data_prep'
CHANGES = {
    'teacher, before the first step': ('before_train', scale_teacher, f'{TEACHER} 1', 0),
    'teacher, in the first epoch': ('after_train_iter', scale_teacher, 'weights or modes', 1),
    'teacher, after an epoch': ('after_train_epoch', scale_teacher, f'{TEACHER} 1', 4),
    'transform': ('before_train', change_transform, f'{IMAGES}.* in epoch 1', 0),
    'pipeline': ('after_train_epoch', change_pipeline, f'{IMAGES}.* in epoch 1', 4),
    'preprocessor': ('before_train', change_mean, f'{IMAGES}.* in epoch 1', 0),
    'preprocessor, in an epoch': ('after_train_iter', change_mean, 'weights or modes', 1),
    'modes': ('before_train_iter', train_norms, 'weights or modes', 0),
    'Mixup': ('before_train_iter', mix, 'data_preprocessor.batch_augments=', 0),
}


@pytest.mark.parametrize('kind', CHANGES)
def test_what_changes_in_training_ends_it_before_a_wrong_row_is_stored(tmp_path, kind):
    when, change, message, batches = CHANGES[kind]
    runner = build(tmp_path / 'run', tmp_path / 'store')
    late = when.startswith('before')
    runner.register_hook(Change(when, change), 'LOWEST' if late else 'NORMAL')
    with pytest.raises(ValueError, match=f'StoredTeacherHook: {message}'):
        runner.train()
    assert get_store(runner).get_stored(0).sum() == batches * 8


def test_a_batch_of_several_sizes_is_refused_where_it_comes(tmp_path):
    """The images that are looked at before the training are all of one size."""
    pipeline = [dict(type='mmengine.CutSome', first=64)]
    with pytest.raises(ValueError, match=r'sizes of the images of a batch=.* expected one size'):
        run(tmp_path / 'run', tmp_path / 'store', train_dataloader=data(pipeline, size=72))


def test_a_logit_that_float16_cannot_hold_is_refused_before_the_training(tmp_path):
    cfg = teacher()
    cfg['head']['init_cfg'] = dict(type='Normal', layer='Linear', std=1e6)
    runner = build(
        tmp_path / 'run',
        tmp_path / 'store',
        hook=dict(dtype='float16'),
        model=model(teacher=cfg),
    )
    with pytest.raises(ValueError, match="StoredTeacherHook: dtype='float16', expected 'float32'"):
        runner.train()
    assert runner.iter == 0


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
