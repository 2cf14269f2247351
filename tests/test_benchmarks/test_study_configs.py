"""The configs of the method study, without its data."""

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from mmpretrain.registry import DATASETS
from mmpretrain.structures import DataSample
from mmrazor.registry import MODELS

from ..conftest import ROOT

CONFIGS = ROOT / 'benchmarks' / 'accuracy' / 'configs' / 'study'


METHODS = ['kd', 'kd_lr_warmup', 'dkd', 'dist', 'rkd', 'at']
CONTROLS = [
    'skd_kd_no_attention',
    'skd_kd_no_schedule',
    'skd_kd_whole_training',
    'skd_kd_fixed_attention',
    'skd_kd_softer_target',
    'kd_warmup',
    'kd_label_smoothing',
]
FAILURES = ['skd_kd_unbounded', 'skd_kd_entropy_grad']


@pytest.mark.parametrize('method', METHODS)
def test_skd_differs_from_its_base_by_the_distiller_alone(method):
    base, ours = (Config.fromfile(CONFIGS / f'{name}{method}.py') for name in ('', 'skd_'))
    ours.model.distiller.type = base.model.distiller.type
    del ours.model.distiller['simplifier']
    for cfg in (base, ours):
        cfg.pop('custom_imports')
    assert ours.to_dict() == base.to_dict()


@pytest.mark.parametrize(('data', 'shape'), [('fashion_mnist', (1, 28)), ('glyph100', (3, 32))])
@pytest.mark.parametrize(
    'method', METHODS + ['skd_' + method for method in METHODS] + CONTROLS + FAILURES
)
def test_a_step_on_images_of_each_data_set(monkeypatch, data, shape, method):
    monkeypatch.setenv('STUDY_DATASET', data)
    cfg = Config.fromfile(CONFIGS / f'{method}.py')
    cfg.model.teacher_ckpt = None
    model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))
    channels, size = shape
    images = torch.randint(256, (4, channels, size, size), dtype=torch.uint8)
    samples = [DataSample().set_gt_label(i) for i in range(4)]
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    losses = model.train_step(dict(inputs=images, data_samples=samples), optimizer)
    assert losses['loss'].isfinite()


def test_each_control_takes_one_part_out():
    def factor_and_target(name, iteration=0):
        cfg = Config.fromfile(CONFIGS / f'{name}.py').model.distiller.simplifier
        simplifier = MODELS.build(dict(cfg, num_classes=10, _scope_='mmrazor'))
        if simplifier.lam_logit is not None:
            torch.nn.init.ones_(simplifier.lam_logit)
        simplifier.num_steps.fill_(iteration)
        logits = torch.randn(4, 10)
        target, factor = simplifier(logits), simplifier.current_factor
        return float(factor), torch.allclose(target, factor * logits)

    assert factor_and_target('skd_kd') == (0.25, False)
    assert factor_and_target('skd_kd_no_attention') == (0.25, True)
    assert factor_and_target('skd_kd_no_schedule') == (1, False)
    assert factor_and_target('skd_kd', iteration=1000) == (1, False)
    assert factor_and_target('skd_kd_whole_training', iteration=940) == (0.625, False)


def build(name):
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    cfg.model.teacher_ckpt = None
    model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))
    model.init_weights()
    return model, build_optim_wrapper(model, cfg.optim_wrapper)


def train_step(model, optimizer):
    images = torch.randint(256, (16, 1, 28, 28), dtype=torch.uint8)
    samples = [DataSample().set_gt_label(i % 10) for i in range(16)]
    model.train_step(dict(inputs=images, data_samples=samples), optimizer)


def test_the_softer_target_is_the_mean_of_the_schedule_and_stays_so():
    model, optimizer = build('skd_kd_softer_target')
    mean = (0.25 + 1) / 2
    logits = torch.randn(6, 10)
    for _ in range(3):
        target = model.distiller.simplifier(logits).softmax(dim=1)
        torch.testing.assert_close(target, (mean * logits).softmax(dim=1))
        train_step(model, optimizer)


def test_the_fixed_attention_learns_lambda_alone():
    model, optimizer = build('skd_kd_fixed_attention')
    simplifier = model.distiller.simplifier
    # Of a λ of exactly 0 nothing else gets a gradient.
    torch.nn.init.ones_(simplifier.lam_logit)
    before = {name: p.detach().clone() for name, p in simplifier.named_parameters()}
    for _ in range(2):
        train_step(model, optimizer)
    after = dict(simplifier.named_parameters())
    assert after['attention.q.weight'].equal(before['attention.q.weight'])
    assert after['attention.k.weight'].equal(before['attention.k.weight'])
    assert not after['lam_logit'].equal(before['lam_logit'])


@pytest.mark.parametrize(('name', 'entropy_grad'), zip(FAILURES, (0.0, 1.0), strict=True))
def test_what_goes_wrong_has_no_bound_to_speak_of(name, entropy_grad):
    model, _ = build(name)
    assert model.distiller.simplifier.max_lam == 0.9
    assert model.distiller.distill_losses['loss_kl'].entropy_grad == entropy_grad


@pytest.mark.filterwarnings('ignore::DeprecationWarning')  # One an image, of mmpretrain.
@pytest.mark.parametrize(('split', 'expected'), [('val', 10000), ('test', 3)])
def test_tuning_keeps_away_from_the_test_images(monkeypatch, tmp_path, split, expected):
    monkeypatch.setenv('STUDY_SPLIT', split)
    # The label says which image it is: of the training -10000 to -1 are held out.
    write_images(tmp_path, 'train', [0, *[1] * 10000])
    write_images(tmp_path, 't10k', [2] * 3)
    cfg = Config.fromfile(CONFIGS / 'kd.py').val_dataloader.dataset
    cfg.dataset.data_root = str(tmp_path)
    labels = DATASETS.build(cfg).dataset.get_gt_labels().tolist()
    assert labels == [1 if split == 'val' else 2] * expected


def write_images(folder, name, labels):
    """Files of Fashion-MNIST, with images of 2² pixels."""
    count = len(labels).to_bytes(4, 'big')
    side = (2).to_bytes(4, 'big')
    images = b'\0\0\x08\x03' + count + side * 2 + bytes(4 * len(labels))
    (folder / f'{name}-images-idx3-ubyte').write_bytes(images)
    (folder / f'{name}-labels-idx1-ubyte').write_bytes(b'\0\0\x08\x01' + count + bytes(labels))


@pytest.mark.parametrize('data', ['fashion_mnist', 'glyph100'])
def test_the_last_checkpoint_can_be_tested(monkeypatch, data):
    monkeypatch.setenv('STUDY_DATASET', data)
    cfg = Config.fromfile(CONFIGS / 'kd.py')
    assert cfg.test_dataloader == cfg.val_dataloader
    assert cfg.test_evaluator == cfg.val_evaluator


def get_warm_ups():
    names = [f'study/{name}' for name in ('kd', 'skd_kd', 'dkd', 'skd_at')]
    names += [f'digits/{name}_lr_warmup' for name in ('kd', 'skd_kd', 'dkd', 'skd_dkd')]
    pair = 'lr_warmup_resnet32x4_resnet8x4_240e_cifar100'
    return [*names, f'cifar100/kd_{pair}', f'cifar100/skd_kd_{pair}']


@pytest.mark.parametrize('name', get_warm_ups())
def test_the_learning_rate_warms_up_from_nearly_nothing(monkeypatch, name):
    monkeypatch.setenv('STUDY_LR_WARMUP', 'yes')
    cfg = Config.fromfile(CONFIGS.parent / f'{name}.py')
    epochs, length = cfg.train_cfg.max_epochs, 3
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedulers = []
    for scheduler in cfg.param_scheduler:
        settings = dict(scheduler, optimizer=optimizer)
        if settings.pop('convert_to_iter_based', False):
            kind = PARAM_SCHEDULERS.get(settings.pop('type'))
            settings.pop('by_epoch', None)
            schedulers.append(
                kind.build_iter_from_epoch(epoch_length=length, by_epoch=True, **settings)
            )
        else:
            schedulers.append(PARAM_SCHEDULERS.build(settings))
    rates = []
    for iteration in range(epochs * length):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            if not scheduler.by_epoch or (iteration + 1) % length == 0:
                scheduler.step()
    warm = rates.index(max(rates))
    assert rates[0] == pytest.approx(0.01)
    assert rates[: warm + 1] == sorted(rates[: warm + 1])
    assert max(rates) == pytest.approx(1)
    assert warm / len(rates) == pytest.approx(1 / 12 if 'cifar100' in name else 1 / 4, abs=0.02)
    assert rates[warm:] == sorted(rates[warm:], reverse=True)
    assert rates[-1] < 0.01
