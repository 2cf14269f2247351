"""Each method and each network of the configs makes a step; the others are of the same parts.

The quick run steps ``STEPPED``, which has every method and every network once, and
compares the rest with them. The nightly run steps all.
"""

import copy
import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmrazor.registry import MODELS

from benchmarks.compatibility.run_configs import drop_weights

from .conftest import ROOT

# Those of segmentation and detection are in test_dense.
CONFIGS = sorted(
    path.relative_to(ROOT)
    for path in (ROOT / 'configs').rglob('*.py')
    if not {'_base_', 'segmentation', 'detection'} & set(path.parts)
)
SKD = [path for path in CONFIGS if path.name.startswith('skd_')]
# The others build on configs of mmrazor, with which test_mmrazor_configs.py
# compares them.
OWN_BASE = [p for p in SKD if (ROOT / p).with_name(p.name.removeprefix('skd_')).exists()]


def names_of_parts(path):
    """The method and the networks in a file name, as ``skd_kd_teacher_student_….py``."""
    *parts, data = path.stem.replace('skd_', 'skd-').split('_')
    if 'deit-tiny' in parts:  # Its logits are of another head.
        data = 'deit'
    return {(part, data) for part in parts if not part.endswith('0e')}


def choose(paths):
    """Chooses a few configs in which every part occurs."""
    chosen, missing = [], set().union(*map(names_of_parts, paths))
    while missing:
        chosen.append(max(paths, key=lambda path: len(names_of_parts(path) & missing)))
        missing -= names_of_parts(chosen[-1])
    return chosen


# The main job's config, whatever else has its parts.
STEPPED = [Path('configs/skd_dkd_resnet34_resnet18_imagenet.py'), *choose(CONFIGS)]


def others_at_night(paths, stepped):
    """All paths as parameters, of which the quick run takes those that are stepped."""
    return [
        pytest.param(path, marks=() if path in stepped else pytest.mark.nightly) for path in paths
    ]


def load(path):
    cfg = Config.fromfile(ROOT / path)
    if 'teacher_ckpt' in cfg.model:
        assert cfg.model.teacher_ckpt
    drop_weights(cfg.model)
    return cfg


def drop(node, *names):
    """A part of a config without its entries of these names, at any depth."""
    if isinstance(node, dict):
        return {k: drop(v, *names) for k, v in node.items() if k not in names}
    return [drop(value, *names) for value in node] if isinstance(node, (list, tuple)) else node


def parts(path):
    """What a step of a config takes: its data, its networks, and its method on these."""
    cfg = load(path)
    model = cfg.model
    networks = [model[key] for key in ('architecture', 'teacher') if key in model] or [model]
    networks = drop(networks, '_scope_', 'data_preprocessor', 'loss', 'train_cfg', 'init_cfg')
    found = [*networks, cfg.get('data_preprocessor') or model.get('data_preprocessor')]
    if 'distiller' in model:
        # The weights of a loss are set by pair.
        distiller = drop(model.distiller, '_scope_', 'beta', 'loss_weight')
        recorders = [*distiller['student_recorders'].values()]
        recorders += distiller['teacher_recorders'].values()
        # Logits can be of any network with that head, features of these networks only.
        if all(recorder['source'].startswith('head.') for recorder in recorders):
            networks = [network.get('head', {}).get('type') for network in networks]
        found.append([model.type, distiller, networks])
    return {json.dumps(part, sort_keys=True, default=str) for part in found}


def build(cfg):
    model_cfg = copy.deepcopy(cfg.model)
    model_cfg.setdefault('data_preprocessor', cfg.get('data_preprocessor'))
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return MODELS.build(model_cfg)


def image_size(path):
    """Networks for ImageNet take smaller images too."""
    if 'digits' in path.name:
        return 1, 8, 8
    return (3, 32, 32) if 'cifar' in path.name else (3, 64, 64)


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


def test_a_config_that_is_not_stepped_consists_of_parts_that_are():
    stepped = set().union(*map(parts, STEPPED))
    for path in CONFIGS:
        assert parts(path) <= stepped, path


@pytest.mark.parametrize('path', others_at_night(CONFIGS, STEPPED), ids=str)
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
    assert dataset.get('dataset', dataset).type == 'skd_mmrazor.Glyph100'
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


@pytest.mark.parametrize('path', others_at_night(OWN_BASE, choose(OWN_BASE)), ids=str)
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
