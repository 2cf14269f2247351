"""Every config file is built and stepped, on random images of its size."""

import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmrazor.registry import MODELS

from benchmarks.compatibility.run_configs import drop_weights

from .conftest import ROOT

CONFIGS = sorted(
    path.relative_to(ROOT)
    for path in (ROOT / 'configs').rglob('*.py')
    if '_base_' not in path.parts
)
SKD = [path for path in CONFIGS if path.name.startswith('skd_')]
# The others build on configs of mmrazor, with which test_mmrazor_configs.py
# compares them.
OWN_BASE = [p for p in SKD if (ROOT / p).with_name(p.name.removeprefix('skd_')).exists()]


def build(cfg):
    model_cfg = copy.deepcopy(cfg.model)
    model_cfg.setdefault('data_preprocessor', cfg.get('data_preprocessor'))
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return MODELS.build(model_cfg)


def load(path):
    cfg = Config.fromfile(ROOT / path)
    if 'teacher_ckpt' in cfg.model:
        assert cfg.model.teacher_ckpt
    drop_weights(cfg.model)
    return cfg


def image_size(path):
    if 'digits' in path.name:
        return 1, 8, 8
    return (3, 32, 32) if 'cifar' in path.name else (3, 224, 224)


def step(model, path):
    """Losses of one step, through the config's own data preprocessor."""
    from mmpretrain.structures import DataSample

    size = image_size(path)
    data = dict(
        inputs=[torch.randint(256, size, dtype=torch.uint8) for _ in range(2)],
        # CRD knows an image by its number.
        data_samples=[
            DataSample(sample_idx=torch.tensor(label)).set_gt_label(label) for label in (1, 2)
        ],
    )
    model.train()
    losses = model(**model.data_preprocessor(data, training=True), mode='loss')
    return model.parse_losses(losses)


def by_speed(paths):
    """Parameters, those of large networks marked as slow."""
    large = ('deit', 'mobilenet', 'resnet50', 'cifar100')
    slow = [any(name in path.name for name in large) for path in paths]
    return [
        pytest.param(path, marks=pytest.mark.slow if s else ())
        for path, s in zip(paths, slow, strict=True)
    ]


@pytest.mark.parametrize('path', by_speed(CONFIGS), ids=str)
def test_builds_and_steps(path):
    model = build(load(path))
    loss, logged = step(model, path)
    loss.backward()
    assert loss.isfinite()
    assert ('distill.lam' in logged) == (path in SKD)
    if path in SKD:
        assert model.distiller.simplifier.lam_logit.grad.abs() > 0
    student = model.student if hasattr(model, 'student') else model
    assert all(p.grad is not None for p in student.parameters() if p.requires_grad)


@pytest.mark.parametrize('path', [p for p in CONFIGS if 'cifar100' in p.parts], ids=str)
def test_a_cifar100_experiment_runs_on_glyph100_by_its_data_alone(path, monkeypatch):
    plain = Config.fromfile(ROOT / path)
    monkeypatch.setenv('CIFAR100_DATASET', 'glyph100')
    cfg = Config.fromfile(ROOT / path)
    dataset = cfg.train_dataloader.dataset
    assert dataset.get('dataset', dataset).type == 'Glyph100'
    assert cfg.model == plain.model
    assert cfg.custom_imports.imports == ['skd_mmrazor']


@pytest.mark.parametrize('path', SKD, ids=str)
def test_skd_differs_from_its_base_by_three_lines(path):
    """The promise of the README: the rest of the config is the base's."""
    lines = [line.strip() for line in (ROOT / path).read_text().splitlines() if line.strip()]
    base = f"_base_ = ['./{path.name.removeprefix('skd_')}']"
    assert lines[0] == base if path in OWN_BASE else lines[0].startswith("_base_ = ['mmrazor::")
    assert lines[1:] == [
        "custom_imports = dict(imports=['skd_mmrazor'], allow_failed_imports=False)",
        'model = dict(',
        'distiller=dict(',
        f"type='{'SKDOFDDistiller' if 'ofd' in path.name else 'SKDDistiller'}',",
        "simplifier=dict(type='AttentionSimplifierConnector')))  # fmt: skip",
    ]


@pytest.mark.parametrize('path', by_speed(OWN_BASE), ids=str)
def test_skd_starts_from_its_bases_losses(path):
    losses = []
    for name in (path.name.removeprefix('skd_'), path.name):
        torch.manual_seed(0)
        model = build(load(path.with_name(name)))
        model.init_weights()
        if name == path.name:  # Without the schedule SKD starts as its base.
            model.distiller.simplifier.num_steps.fill_(1000)
        torch.manual_seed(1)
        losses.append(step(model, path)[1])
    plain, skd = losses
    for key in plain.keys() - ({'loss'} if 'distill.loss_skd' in skd else set()):
        torch.testing.assert_close(skd[key], plain[key])


def test_the_missions_config_has_dkds_imagenet_setting():
    cfg = load('configs/skd_dkd_resnet34_resnet18_imagenet.py')
    loss = build(cfg).distiller.distill_losses['loss_dkd']
    assert (loss.alpha, loss.beta, loss.tau, loss.reduction) == (1, 0.5, 1, 'batchmean')
    assert cfg.train_cfg.max_epochs == 100
    assert cfg.train_dataloader.batch_size == 32
    assert cfg.auto_scale_lr.base_batch_size == 256


def test_resolves_as_a_base_of_another_project(tmp_path):
    """By the ``.mim`` links or files that an installation makes."""
    config = tmp_path / 'config.py'
    config.write_text(
        "_base_ = ['skd_mmrazor::digits/skd_kd_resnet14-w16_resnet10-w4_60e_digits.py']\n"
        'model = dict(distiller=dict(simplifier=dict(max_lam=0.1)))\n'
    )
    distiller = Config.fromfile(config).model.distiller
    assert distiller.type == 'SKDDistiller'
    assert distiller.simplifier == dict(type='AttentionSimplifierConnector', max_lam=0.1)
