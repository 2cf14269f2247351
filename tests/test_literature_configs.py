"""The configs that are the literature's, to the last field that a run depends on."""

import copy

import pytest
import torch
from mmcv.cnn.bricks import DropPath
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample
from mmrazor.models.losses import CRDLoss
from mmrazor.registry import MODELS

from benchmarks.compatibility.run_configs import drop_weights

from .conftest import ROOT

CIFAR = ROOT / 'configs' / 'cifar100'
PAIR = 'resnet32x4_resnet8x4_240e_cifar100'
NETWORKS = Config.fromfile(ROOT / 'configs/_base_/models/cifar100_networks.py')
FEATURE_METHODS = ['at', 'crd', 'fitnets', 'ofd', 'rkd']


def load(path):
    cfg = Config.fromfile(path)
    drop_weights(cfg.model)
    return cfg


def build(path):
    cfg = load(path)
    model = copy.deepcopy(cfg.model)
    model.setdefault('data_preprocessor', cfg.data_preprocessor)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return MODELS.build(model)


def batch(size=4):
    samples = [DataSample(sample_idx=torch.tensor(i)).set_gt_label(i) for i in range(size)]
    return torch.randn(size, 3, 32, 32), samples


def distil(method):
    """The model of a method, and its losses of one step on the same images."""
    torch.manual_seed(0)
    model = build(CIFAR / f'{method}_{PAIR}.py')
    torch.manual_seed(1)
    model.train()
    return model, model(*batch(), mode='loss')


def test_cifar100_is_normalised_by_the_literatures_numbers():
    cfg = Config.fromfile(ROOT / 'configs/_base_/datasets/cifar100_bs64.py').data_preprocessor
    assert cfg.mean == pytest.approx([255 * x for x in (0.5071, 0.4867, 0.4408)], abs=1e-9)
    assert cfg.std == pytest.approx([255 * x for x in (0.2675, 0.2565, 0.2761)], abs=1e-9)


@pytest.mark.parametrize('method', FEATURE_METHODS)
def test_skd_beside_features_has_a_control_with_the_same_losses(method):
    """SKD adds a divergence on the logits, and so does ``x_kd``: the rest is SKD's."""
    _, alone = distil(method)
    control, plain = distil(f'{method}_kd')
    torch.manual_seed(0)
    model = build(CIFAR / f'skd_{method}_{PAIR}.py')
    # Past its schedule a simplifier that has learned nothing gives back the logits.
    model.distiller.simplifier.num_steps.fill_(10_000)
    torch.manual_seed(1)
    model.train()
    skd = model(*batch(), mode='loss')
    torch.testing.assert_close(skd['distill.loss_skd'], plain['distill.loss_kl'])
    for key in alone:
        torch.testing.assert_close(plain[key], alone[key])
        torch.testing.assert_close(skd[key], alone[key])
    added = plain.keys() - alone.keys()
    assert added == {'distill.loss_kl'}
    loss = control.distiller.distill_losses['loss_kl']
    assert (type(loss).__name__, loss.tau, loss.loss_weight) == ('KLDivergence', 4, 1)


def test_crd_has_its_weight_and_mmrazors_ignores_it():
    torch.manual_seed(0)
    features = torch.nn.functional.normalize(torch.randn(2, 4, 8), dim=2)
    samples = [DataSample(sample_idx=torch.tensor(i)) for i in range(4)]
    arguments = dict(neg_num=6, sample_n=20, dim_out=8)

    def compute(loss):
        torch.manual_seed(0)
        return MODELS.build(dict(arguments, **loss))(*features, samples)

    whole = compute(dict(type='CRDLoss'))
    assert torch.equal(compute(dict(type='CRDLoss', loss_weight=0.8)), whole)
    torch.testing.assert_close(compute(dict(type='WeightedCRDLoss', loss_weight=0.8)), 0.8 * whole)
    with pytest.raises(ValueError, match=r"WeightedCRDLoss: loss_weight='0\.8', expected a number"):
        MODELS.build(dict(type='WeightedCRDLoss', loss_weight='0.8'))


def test_crds_weight_counts_once_where_mmrazor_is_mended(monkeypatch):
    forward = CRDLoss.forward
    monkeypatch.setattr(
        CRDLoss, 'forward', lambda self, *args: self.loss_weight * forward(self, *args)
    )
    model, losses = distil('crd')
    assert model.distiller.distill_losses['loss_crd'].loss_weight == 0.8
    monkeypatch.undo()
    torch.testing.assert_close(losses, distil('crd')[1])


def test_fitnets_regressor_starts_as_torchs_convolution():
    model, _ = distil('fitnets')
    model.init_weights()
    regressor = model.distiller.connectors['regressor'].conv_module
    bound = 128**-0.5
    for values in (regressor.conv.weight, regressor.conv.bias):
        assert 0.9 * bound < values.abs().max() <= bound
    assert regressor.conv.weight.std().item() == pytest.approx(0.051, abs=1e-3)
    assert [type(m).__name__ for m in (regressor.norm, regressor.activate)] == [
        'BatchNorm2d',
        'ReLU',
    ]


@pytest.mark.parametrize(('arch', 'zero'), [('wrn16_2', True), ('resnet20', False)])
def test_wide_resnets_start_with_a_bias_of_zero_and_torchs_weights(arch, zero):
    model = MODELS.build(NETWORKS[arch])
    model.init_weights()
    fc = model.head.fc
    assert bool((fc.bias == 0).all()) == zero
    assert 0.95 * fc.in_features**-0.5 < fc.weight.abs().max() <= fc.in_features**-0.5


def statistics(model):
    return {key: value.clone() for key, value in model.teacher.state_dict().items()}


@pytest.mark.parametrize('method', ['kd', 'dkd', *FEATURE_METHODS])
def test_the_teacher_is_in_evaluation_mode_but_for_ofds(method):
    """Both reference codes of OFD train theirs, and this benchmark does as they do."""
    model = build(CIFAR / f'{method}_{PAIR}.py')
    model.train()
    before = statistics(model)
    images, samples = batch()
    model(images, samples, mode='loss')
    moved = any(not torch.equal(value, before[key]) for key, value in statistics(model).items())
    found = model.teacher(images, mode='tensor')[0]
    model.teacher.eval()
    equal = torch.equal(found, model.teacher(images, mode='tensor')[0])
    assert (equal, moved) == ((True, False) if method != 'ofd' else (False, True))


@pytest.mark.parametrize(
    'pair', ['resnet34_resnet18', 'resnet50_mobilenet-v2', 'deit-base_deit-tiny']
)
def test_an_imagenet_teacher_has_nothing_random(pair):
    """mmrazor leaves dropout and drop path of a teacher on."""
    cfg = load(ROOT / f'configs/kd_{pair}_imagenet.py')
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        teacher = MODELS.build(dict(cfg.model.teacher, _scope_='mmpretrain'))
    chances = [
        module.p if isinstance(module, torch.nn.Dropout) else module.drop_prob
        for module in teacher.modules()
        if isinstance(module, (torch.nn.Dropout, DropPath))
    ]
    assert not any(chances), chances
