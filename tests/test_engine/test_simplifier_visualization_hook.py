"""Drawing pictures of the simplified targets does not change the training."""

import random

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner
from PIL import Image

from skd_mmrazor.engine.hooks import FrozenTeacherHook, SimplifierVisualizationHook
from skd_mmrazor.engine.hooks.simplifier_visualization_hook import _get_logits

from ..digits_runs import KD, assert_same_state, digits, load, train
from .pictures import HOOK, options, pictures


def test_training_is_bitwise_the_same(tmp_path):
    simplifier = {'model.distiller.simplifier.max_lam': 0.5}
    train(tmp_path / 'without', **options(**simplifier))
    train(tmp_path / 'with', **options(HOOK, **simplifier))
    assert pictures(tmp_path / 'without') == []
    assert pictures(tmp_path / 'with') == ['simplification_1.png', 'simplification_2.png']
    assert_same_state(load(tmp_path / 'without', 2), load(tmp_path / 'with', 2))


class Compare(SimplifierVisualizationHook):
    """Records what the hook could change, before and after it draws."""

    def after_train_epoch(self, runner):
        self.before = self.note(runner.model)
        super().after_train_epoch(runner)
        self.after = self.note(runner.model)

    def note(self, model):
        name, keys, *position = np.random.get_state()
        recorders = {**model.distiller.teacher_recorders.recorders}
        recorders |= {f's.{k}': r for k, r in model.distiller.student_recorders.recorders.items()}
        return dict(
            python=random.getstate(),
            numpy=(name, keys.tolist(), *position),
            torch=torch.get_rng_state().tolist(),
            modes=[module.training for module in model.modules()],
            records={k: [id(x) for x in r.data_buffer] for k, r in recorders.items()},
            recording=[getattr(r, 'recording', None) for r in recorders.values()],
            gradients=[None if p.grad is None else id(p.grad) for p in model.parameters()],
        )


def test_generators_modes_and_records_are_put_back(tmp_path):
    """And a picture is drawn at the second of two epochs, as ``interval=2`` says."""
    runner = Runner.from_cfg(digits(tmp_path, **options()))
    hook = Compare(interval=2, num_samples=3)
    runner.register_hook(hook)
    runner.train()
    assert pictures(tmp_path) == ['simplification_2.png']
    (path,) = tmp_path.glob('*/vis_data/vis_image/*.png')
    assert len(np.unique(np.asarray(Image.open(path)).reshape(-1, 3), axis=0)) > 100
    assert hook.before['records']['fc'], 'the last batch was recorded'
    assert len(set(hook.before['modes'])) == 2, 'parts are in another mode than the whole'
    assert hook.after == hook.before


def test_a_loop_without_epochs_draws_by_iterations(tmp_path):
    loop = {'train_cfg': dict(_delete_=True, by_epoch=False, max_iters=5)}
    train(tmp_path, **options(dict(HOOK, interval=2), **loop))
    assert pictures(tmp_path) == ['simplification_2.png', 'simplification_4.png']


def test_a_model_without_a_teacher_is_refused(tmp_path):
    cfg = digits(tmp_path, **options(HOOK))
    cfg.model.type = 'SelfDistill'
    del cfg.model.teacher, cfg.model.teacher_ckpt, cfg.val_cfg.type
    with pytest.raises(ValueError, match=r"model\.type='SelfDistill', expected .* a teacher"):
        Runner.from_cfg(cfg).train()


def test_a_map_of_the_teacher_alone_is_refused_before_training(tmp_path):
    cfg = digits(tmp_path, **options(dict(HOOK, interval=100)))
    cfg.model.teacher = cfg.model.architecture
    for side in ('student_recorders', 'teacher_recorders'):
        cfg.model.distiller[side].fc.source = 'backbone.conv1'
    cfg.model.distiller.simplified_losses = dict(loss_kl='preds_T')
    with pytest.raises(ValueError, match=r"student's logits=\(16, 10\), expected as many classes"):
        Runner.from_cfg(cfg).train()


def test_the_teacher_is_drawn_in_evaluation_mode_beside_a_frozen_teacher_hook(tmp_path):
    class LookTwice(SimplifierVisualizationHook):
        def _draw(self, runner, model):
            data = runner.train_dataloader.dataset[0]
            batch = pseudo_collate([data, data])
            self.looks = [_get_logits(model, batch)[0] for _ in range(2)]
            return super()._draw(runner, model)

    # Paths of a network that is not trained add nothing, unless they are told to.
    dropped = dict(drop_path_rate=0.5, zero_init_residual=False)
    settings = {f'model.teacher.backbone.{key}': value for key, value in dropped.items()}
    runner = Runner.from_cfg(digits(tmp_path, **options(**settings)))
    hook = LookTwice(interval=1)
    runner.register_hook(hook)
    runner.register_hook(FrozenTeacherHook())
    runner.train()
    assert hook.looks[0].equal(hook.looks[1])


def test_of_the_simplifier_the_parts_are_drawn_in_evaluation_mode(tmp_path):
    """The whole is not, since it softens in training alone."""
    runner = Runner.from_cfg(digits(tmp_path, **options()))
    simplifier, modes = runner.model.distiller.simplifier, []
    simplifier.register_forward_pre_hook(
        lambda module, _: modes.append({name for name, m in module.named_modules() if m.training})
    )
    SimplifierVisualizationHook().before_train(runner)
    assert modes == [{''}]


def test_a_distiller_without_a_simplifier_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"model\.distiller='ConfigurableDistiller', expected an"):
        train(tmp_path, KD, custom_hooks=[HOOK])


def test_a_run_without_validation_is_named(tmp_path):
    cfg = digits(tmp_path, custom_hooks=[HOOK])
    cfg.update(val_dataloader=None, val_cfg=None, val_evaluator=None)
    with pytest.raises(ValueError, match=r'val_dataloader=None, expected images to draw'):
        Runner.from_cfg(cfg).train()


@pytest.mark.parametrize('key', ['interval', 'batch_size', 'num_samples', 'num_classes'])
def test_an_argument_that_counts_nothing_is_named(key):
    with pytest.raises(ValueError, match=f'SimplifierVisualizationHook: {key}=0, expected an int'):
        SimplifierVisualizationHook(**{key: 0})
