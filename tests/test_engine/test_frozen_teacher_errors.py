"""What would change the teacher's records is refused by ``FrozenTeacherHook``."""

import re

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import HOOKS, MODELS
from mmengine.runner import Runner

from skd_mmrazor.engine import FrozenTeacherHook

from .frozen_teachers import (
    DATA,
    EAGER,
    LABELS,
    OFF,
    active,
    model,
    run,
    teacher_of,
    teacher_with_dropout,
)
from .runs import run_config, student


@MODELS.register_module()
class ScalingByNumPy(torch.nn.Conv2d):
    """Draws from another generator than torch's, in training mode alone."""

    def forward(self, images):
        found = super().forward(images)
        return found * np.random.uniform(0.5, 1.5) if self.training else found


@MODELS.register_module()
class OfTrainingAlone(torch.nn.Conv2d):
    """Has no other mode, as some heads of detectors."""

    def forward(self, images):
        assert self.training
        return super().forward(images)


DELIVERIES = dict(
    mix=dict(
        type='MethodOutputs',
        max_keep_data=1,
        method_path='mmpretrain.models.heads.LinearClsHead.pre_logits',
    )
)
REFUSED = [
    ({}, dict(teacher_trainable=True), 'model.teacher_trainable=True, expected False'),
    ({}, dict(teacher_norm_eval=False), 'model.teacher_norm_eval=False, expected True'),
    ({}, dict(teacher_recorders=LABELS), r'skip_loss=True, expected .*teacher_recorders.labels'),
    (
        {},
        dict(teacher=teacher_of(dict(type='OfTrainingAlone'))),
        r"model\.teacher='ImageClassifier', expected one that can be run in evaluation mode",
    ),
    ({}, dict(deliveries=DELIVERIES), r"skip_loss=True, expected False .*\['mix'\]"),
    (dict(OFF, compile=EAGER), dict(deliveries=DELIVERIES), r"compile=\{.*'mix'"),
    *(
        (
            dict(OFF, **{key: value}),
            dict(teacher=drawing),
            f'{key}={value!r}, expected eval_mode=True beside it',
        )
        for drawing in (teacher_with_dropout(), teacher_of(dict(type='ScalingByNumPy')))
        for key, value in (('channels_last', True), ('dtype', 'float16'), ('compile', EAGER))
    ),
]


@pytest.mark.parametrize(('hook', 'arguments', 'message'), REFUSED, ids=lambda v: '')
def test_what_would_change_the_records_is_refused(tmp_path, hook, arguments, message):
    with pytest.raises(ValueError, match=f'FrozenTeacherHook: {message}'):
        run(tmp_path, hook, **model(**arguments))


@MODELS.register_module()
class ScalingConv2d(torch.nn.Conv2d):
    """Scales its output with the bias, which folding does not account for."""

    def __init__(self, *args, scale, **kwargs):
        super().__init__(*args, **kwargs)
        self.scale = scale

    def forward(self, images):
        return self.scale * super().forward(images)


@pytest.mark.parametrize('scale', [1.1, 0.9])
def test_a_folding_that_is_a_little_wrong_is_refused(tmp_path, scale):
    """By a few percent, which nobody would notice in a training."""
    scaling = model(teacher=teacher_of(dict(type='ScalingConv2d', scale=scale)))
    with pytest.raises(ValueError, match=r'fold_bn=True, expected that .*difference is') as found:
        run(tmp_path / 'a', dict(OFF, fold_bn=True), **scaling)
    error = float(re.search(r'difference is (\S+?)\.?$', str(found.value))[1])
    assert 0.01 < error < 0.1
    run(tmp_path / 'b', OFF, **scaling)
    sound = model(teacher=teacher_of(dict(type='ScalingConv2d', scale=1.0)))
    assert active(run(tmp_path / 'c', dict(OFF, fold_bn=True), **sound)) == {'fold_bn'}


@HOOKS.register_module()
class CommonMode(Hook):
    """Gives the teacher large features with small differences, on which its logits depend."""

    priority = 'VERY_HIGH'

    def before_train(self, runner):
        fc = runner.model.teacher.head.fc
        runner.model.teacher.backbone.layer2[-1].bn2.bias.data.fill_(100.0)
        with torch.no_grad():
            fc.weight -= fc.weight.mean(dim=1, keepdim=True)


def test_a_precision_that_loses_the_logits_is_refused(tmp_path):
    hooks = [dict(type='CommonMode')]
    lossy = [*hooks, dict(type='mmrazor.FrozenTeacherHook', **OFF, dtype='bfloat16')]
    Runner.from_cfg(run_config(tmp_path / 'a', custom_hooks=hooks)).train()
    with pytest.raises(ValueError, match=r"dtype='bfloat16', expected that .* to 0\.1 of its"):
        Runner.from_cfg(run_config(tmp_path / 'b', custom_hooks=lossy)).train()


def test_the_options_of_compile_are_those_of_torch(tmp_path):
    with pytest.raises(RuntimeError, match="Invalid backend: 'of_nobody'"):
        run(tmp_path, dict(OFF, compile=dict(backend='of_nobody')))


def test_wrappers_of_distributed_training_are_known_or_refused(tmp_path):
    runner = Runner.from_cfg(run_config(tmp_path))
    whole = runner.model
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group('gloo', store=store, rank=0, world_size=1)
    runner.model = MMDistributedDataParallel(whole)
    torch.distributed.destroy_process_group()
    FrozenTeacherHook().before_train(runner)
    runner.model = torch.nn.DataParallel(whole)
    with pytest.raises(ValueError, match="model wrapper='DataParallel', expected none, or Distr"):
        FrozenTeacherHook().before_train(runner)


def test_another_algorithm_is_refused(tmp_path):
    cfg = dict(student(), data_preprocessor=DATA)
    with pytest.raises(ValueError, match=r"model.type='ImageClassifier', expected 'SingleTeacher"):
        run(tmp_path, {}, model=cfg)


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('fold_bn', 1),
        ('skip_loss', None),
        ('channels_last', 'yes'),
        ('eval_mode', 0),
        ('dtype', 'float32'),
        ('dtype', 16),
        ('compile', 'max-autotune'),
    ],
)
def test_bad_arguments_are_named(key, value):
    with pytest.raises(ValueError, match=f'FrozenTeacherHook: {key}={value!r}, expected'):
        FrozenTeacherHook(**{key: value})
