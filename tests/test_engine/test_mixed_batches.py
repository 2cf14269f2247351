"""Hooks that run the teacher outside of a step, with Mixup, CutMix and other labels."""

import pytest

from ..conftest import algorithm, distiller
from .runs import KL, difference, loader, logged, student, teacher, train, weights

DATA = dict(type='mmpretrain.ClsDataPreprocessor', num_classes=10, mean=[78.4], std=[96.1])
OWN = dict(DATA, mean=[127.5], std=[50.0])
AUGMENTS = [dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]


def model(augments=AUGMENTS, **teacher_arguments):
    cfg = distiller(KL, simplifier=dict(type='AttentionSimplifierConnector', max_lam=0.5))
    batch_augments = dict(augments=augments) if augments else None
    return algorithm(
        cfg,
        architecture=student(),
        teacher={**teacher(), **teacher_arguments},
        data_preprocessor=dict(DATA, batch_augments=batch_augments),
    )


@pytest.mark.parametrize('skip_loss', [True, False])
def test_a_frozen_teacher_of_mixed_images_trains_the_student_the_same(tmp_path, skip_loss):
    hook = dict(type='mmrazor.FrozenTeacherHook', skip_loss=skip_loss)
    plain = train(tmp_path / 'plain', model=model())
    frozen = train(tmp_path / 'frozen', model=model(), custom_hooks=[hook])
    assert difference(weights(plain.model), weights(frozen.model)) < 1e-6
    unmixed = train(tmp_path / 'unmixed', model=model(augments=None))
    assert difference(weights(plain.model), weights(unmixed.model)) > 1e-3


def test_a_frozen_teacher_keeps_its_own_normalization(tmp_path):
    validation = dict(
        train_cfg=dict(by_epoch=False, max_iters=4, val_interval=4),
        val_dataloader=loader('val', 16, 8),
        val_evaluator=dict(type='Accuracy'),
        val_cfg=dict(type='mmrazor.FrozenTeacherValLoop'),
    )
    hook = dict(type='mmrazor.FrozenTeacherHook', channels_last=True)
    own = model(data_preprocessor=OWN)
    plain = train(tmp_path / 'plain', model=own, **validation)
    frozen = train(tmp_path / 'frozen', model=own, custom_hooks=[hook], **validation)
    assert difference(weights(plain.model), weights(frozen.model)) < 1e-6
    metrics = [logged(runner, 'teacher.accuracy/top1') for runner in (plain, frozen)]
    assert metrics[0] == metrics[1]
    shared = train(tmp_path / 'shared', model=model())
    assert difference(weights(plain.model), weights(shared.model)) > 1e-3


def test_simplified_targets_are_drawn_beside_mixed_batches(tmp_path):
    hook = dict(type='mmrazor.SimplifierVisualizationHook', interval=1)
    settings = dict(
        model=model(),
        train_cfg=dict(by_epoch=True, max_epochs=1, val_interval=10),
        val_dataloader=loader('val', 16, 8),
        val_evaluator=dict(type='Accuracy'),
        val_cfg=dict(),
    )
    plain = train(tmp_path / 'plain', **settings)
    drawn = train(tmp_path / 'drawn', **settings, custom_hooks=[hook])
    assert difference(weights(plain.model), weights(drawn.model)) == 0
    assert list((tmp_path / 'drawn').glob('**/simplification_1.png'))
