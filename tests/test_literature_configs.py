"""The configs agree with the literature in every setting that a run depends on."""

import copy

import numpy as np
import pytest
import torch
import torchvision
from mmcv.cnn.bricks import DropPath
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpretrain.registry import TRANSFORMS
from mmpretrain.structures import DataSample
from mmrazor.models.losses import CRDLoss
from mmrazor.registry import MODELS
from PIL import Image
from torch import nn
from torchvision import transforms

from benchmarks.compatibility.run_configs import drop_weights

from .conftest import ROOT

CIFAR = ROOT / 'configs' / 'cifar100'
IMAGENET = ROOT / 'configs' / 'imagenet'
PAIR = 'resnet32x4_resnet8x4_240e_cifar100'
NETWORKS = Config.fromfile(ROOT / 'configs/_base_/models/cifar100_networks.py')
IMAGENET_NETWORKS = Config.fromfile(ROOT / 'configs/_base_/models/imagenet_networks.py')
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
    """SKD adds a divergence on the logits, and so does ``x-kd``: the rest is SKD's."""
    _, alone = distil(method)
    control, plain = distil(f'{method}-kd')
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
    features = nn.functional.normalize(torch.randn(2, 4, 8), dim=2)
    samples = [DataSample(sample_idx=torch.tensor(i)) for i in range(4)]
    arguments = dict(neg_num=6, sample_n=20, dim_out=8)

    def compute(loss):
        torch.manual_seed(0)
        return MODELS.build(dict(arguments, **loss, _scope_='mmrazor'))(*features, samples)

    whole = compute(dict(type='CRDLoss'))
    assert torch.equal(compute(dict(type='CRDLoss', loss_weight=0.8)), whole)
    torch.testing.assert_close(compute(dict(type='WeightedCRDLoss', loss_weight=0.8)), 0.8 * whole)


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
    own = dict(type='FitNetsConnector', in_channel=2, out_channel=3, norm_cfg=None, bias=False)
    assert [*dict(MODELS.build(own).named_parameters())] == ['conv_module.conv.weight']


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
        module.p if isinstance(module, nn.Dropout) else module.drop_prob
        for module in teacher.modules()
        if isinstance(module, (nn.Dropout, DropPath))
    ]
    assert not any(chances), chances


WEIGHTS = {
    # The loss of the student's labels, and that of distillation: of mdistiller's yaml files.
    'kd_resnet34_resnet18': (0.5, dict(tau=1, loss_weight=0.5)),
    'kd_resnet50_mobilenet-v1': (0.5, dict(tau=1, loss_weight=0.5)),
    'dkd_resnet34_resnet18': (1.0, dict(tau=1, alpha=1, beta=0.5, loss_weight=1)),
    'dkd_resnet50_mobilenet-v1': (1.0, dict(tau=1, alpha=1, beta=2, loss_weight=1)),
}


@pytest.mark.parametrize('name', WEIGHTS)
def test_imagenet_configs_have_the_literatures_weights_and_recipe(name):
    path = IMAGENET / f'{name}_literature-imagenet.py'
    model, cfg = build(path), Config.fromfile(path)
    labels, expected = WEIGHTS[name]
    assert model.student.head.loss_module.loss_weight == labels
    (loss,) = model.distiller.distill_losses.values()
    assert {key: getattr(loss, key) for key in expected} == expected
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.momentum, optimizer.weight_decay) == (0.2, 0.9, 1e-4)
    assert (cfg.param_scheduler.milestones, cfg.param_scheduler.gamma) == ([30, 60, 90], 0.1)
    assert (cfg.train_cfg.max_epochs, cfg.auto_scale_lr.base_batch_size) == (100, 512)
    assert cfg.train_dataloader.batch_size * 8 == 512


def test_resnet18_starts_as_the_literatures():
    model = MODELS.build(IMAGENET_NETWORKS.resnet18)
    model.init_weights()
    assert all((m.weight == 1).all() for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    for values in (model.head.fc.weight, model.head.fc.bias):
        assert 0.9 * 512**-0.5 < values.abs().max() <= 512**-0.5
    weight = model.backbone.layer4[1].conv2.weight
    assert weight.std().item() == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.01)


@pytest.mark.parametrize('arch', ['resnet34', 'resnet50'])
def test_imagenet_teachers_take_torchvisions_weights(arch, tmp_path):
    """A file with torchvision's names, as those that the configs download."""
    theirs = getattr(torchvision.models, arch)()
    torch.save(theirs.state_dict(), tmp_path / f'{arch}.pth')
    cfg = IMAGENET_NETWORKS[arch].copy()
    for part in (cfg.backbone, cfg.head):
        assert part.init_cfg.checkpoint.startswith(f'https://download.pytorch.org/models/{arch}-')
        part.init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / f'{arch}.pth'))
    model = MODELS.build(cfg)
    model.init_weights()
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(model(images), theirs(images))  # in training, by the batch


@pytest.mark.parametrize('size', [(500, 375), (375, 500), (333, 500), (257, 301), (1000, 30)])
def test_imagenet_images_are_torchvisions_pixel_by_pixel(size, tmp_path):
    noise = np.random.default_rng(0).integers(256, size=(*size[::-1], 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, which torchvision does not read
    path = tmp_path / 'image.jpg'
    Image.fromarray(noise).save(path, exif=exif, quality=95)
    image = Image.open(path).convert('RGB')
    cfg = Config.fromfile(IMAGENET / 'kd_resnet34_resnet18_literature-imagenet.py')
    load, resize, crop, _ = map(TRANSFORMS.build, cfg.val_dataloader.dataset.pipeline)
    found = crop(resize(load(dict(img_path=str(path)))))['img']
    expected = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224)])(image)
    assert np.array_equal(found[..., ::-1], np.asarray(expected))

    load, crop, *_ = map(TRANSFORMS.build, cfg.train_dataloader.dataset.pipeline)
    results = load(dict(img_path=str(path)))
    np.random.seed(0)
    top, left, height, width = crop.rand_crop_params(results['img'])
    np.random.seed(0)
    found = crop(results)['img']
    expected = transforms.functional.resized_crop(image, top, left, height, width, [224, 224])
    assert np.array_equal(found[..., ::-1], np.asarray(expected))
