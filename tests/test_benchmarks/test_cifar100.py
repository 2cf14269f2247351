"""The runs of the CIFAR-100 benchmark: pairs, methods, teachers, controls and their cost."""

import re
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config, DictAction
from mmrazor.registry import MODELS

from benchmarks.accuracy.cifar100 import METHODS, PAIRS, parse_args, plan
from benchmarks.accuracy.controls import CONTROLS

from ..conftest import ROOT, run_python


def cifar100(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', ['cifar100.py', *arguments])
    return parse_args()


def test_the_benchmark_is_thirteen_pairs_by_four_methods(monkeypatch):
    teachers, students = plan(cifar100(monkeypatch, '--seeds', '2'))
    assert (len(PAIRS), len(METHODS)) == (13, 4)
    assert len(students) == 13 * 4 * 2
    assert {run.config.stem.split('_')[0] for run in teachers} == {
        *('resnet32x4', 'resnet50', 'resnet56', 'resnet110', 'vgg13', 'wrn40-2'),
    }
    assert len({run.work_dir for run in teachers + students}) == 6 + 104


def test_every_student_gets_the_teacher_of_its_pair(monkeypatch, tmp_path):
    arguments = ('--pairs', 'vgg13_vgg8', '--work-dir', str(tmp_path), '--epochs', '12')
    (teacher,), students = plan(cifar100(monkeypatch, *arguments, '--methods', 'kd', 'student'))
    checkpoint = f'model.teacher_ckpt={teacher.work_dir}/epoch_12.pth'
    assert [checkpoint in run.options for run in students] == [True, False] * 3
    given, students = plan(cifar100(monkeypatch, *arguments, '--teachers', '/converted'))
    assert given == []
    assert all('model.teacher_ckpt=/converted/vgg13.pth' in run.options for run in students)


@pytest.mark.slow
def test_a_dry_run_prints_commands_and_their_cost_and_trains_nothing(tmp_path):
    arguments = ('--dry-run', '--work-dir', tmp_path / 'runs', '--dataset', 'glyph100')
    arguments += ('--store', tmp_path / 'store')
    pair = ('--pairs', 'resnet56_resnet20', '--methods', 'kd', 'student', '--seeds', '2')
    small = ('--cfg-options', 'train_dataloader.batch_size=4', 'val_dataloader.batch_size=4')
    output = run_python('-m', 'benchmarks.accuracy.cifar100', *arguments, *pair, *small)
    lines = [line for line in output.splitlines() if 'tools/train.py' in line]
    assert len(lines) == 1 + 2 * 2
    assert all('CIFAR100_DATASET=glyph100 CIFAR100_EPOCHS=240' in line for line in lines)
    assert not [*tmp_path.iterdir()]
    # Three configs: milliseconds of a step, hours of 240 epochs of 12,500 steps, megabytes.
    found = re.findall(
        r'^\| (\w+?)_240e_cifar100 \| (\d) \| (\S+) \| (\S+) \| (\d+) \|$', output, re.M
    )
    names, numbers = zip(*[(name, tuple(map(float, rest))) for name, *rest in found], strict=True)
    assert names == ('resnet56', 'kd_resnet56_resnet20', 'resnet20')
    assert [number[0] for number in numbers] == [1, 2, 2]
    for _, step, hours, _ in numbers:
        assert hours >= step * 12_500 * 240 / 3_600_000 - 0.01 > 0
    # Weights and momentum of 861,620 and of 278,324 parameters; KD holds both networks.
    assert [number[3] for number in numbers] == pytest.approx([6.9, 5.7, 2.2], abs=1)
    total = sum(number[0] * number[2] for number in numbers)
    (said,) = re.findall(r'^5 runs: (\S+) .PU hours', output, re.M)
    assert float(said) == pytest.approx(total, abs=0.1)


def test_controls_of_the_benchmark_lie_beside_it(monkeypatch):
    arguments = ('--pairs', 'resnet32x4_resnet8x4', '--methods', 'kd', 'skd_kd_lr_warmup')
    _, students = plan(cifar100(monkeypatch, *arguments, '--seeds', '1'))
    folders = [run.config.parent.relative_to(ROOT) for run in students]
    assert folders == [Path('configs/cifar100'), Path('benchmarks/accuracy/configs/cifar100')]


def test_a_control_is_another_config_with_settings(monkeypatch):
    arguments = ('--pairs', 'vgg13_vgg8', '--methods', 'skd_kd', *CONTROLS, '--seeds', '1')
    _, students = plan(cifar100(monkeypatch, *arguments))
    assert len({run.work_dir for run in students}) == len(students) == 1 + len(CONTROLS)
    built = {}
    for run in students:
        cfg = Config.fromfile(run.config)
        options = (option.split('=', 1) for option in run.options)
        cfg.merge_from_dict({key: DictAction._parse_iterable(value) for key, value in options})
        cfg.model.teacher_ckpt = None
        built[run.name.split('_vgg')[0]] = MODELS.build(cfg.model).distiller

    def get_loss(name):
        return built[name].distill_losses['loss_kl']

    default = built['skd_kd'].simplifier.max_lam
    assert built['skd_kd-half'].simplifier.max_lam == 0.5 != default
    assert built['skd_kd-classes'].simplifier.attend_over == 'classes'
    assert get_loss('skd_kd-entropy').entropy_grad == 1 != get_loss('skd_kd').entropy_grad
    logits = torch.randn(4, 100, generator=torch.Generator().manual_seed(0))
    simplifier = built['skd_kd-soft'].simplifier.train()
    simplifier.init_weights()
    soft = simplifier(5 * logits) / 4
    torch.testing.assert_close(soft.softmax(1), (0.625 * 5 * logits / 4).softmax(1))
    loss = get_loss('kd-standardised')
    teacher = torch.randn(4, 100, generator=torch.Generator().manual_seed(1))
    expected = loss(logits, teacher)
    torch.testing.assert_close(loss(3 * logits + 1, 0.5 * teacher - 2), expected)
    assert expected > 1e-3


def test_students_share_the_store_of_their_teacher(monkeypatch, tmp_path):
    arguments = ('--pairs', 'vgg13_vgg8', 'resnet56_resnet20', '--store', str(tmp_path))
    teachers, students = plan(cifar100(monkeypatch, *arguments, '--methods', 'kd', 'student'))
    key = 'default_hooks.stored_teacher.path='
    found = {run.name: [o for o in run.options if o.startswith(key)] for run in students}
    assert found['kd_vgg13_vgg8_240e_cifar100'] == [f'{key}{tmp_path}/vgg13']
    assert found['kd_resnet56_resnet20_240e_cifar100'] == [f'{key}{tmp_path}/resnet56']
    assert found['vgg8_240e_cifar100'] == [] == [o for o in teachers[0].options if key in o]


def test_an_unknown_method_is_refused(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        cifar100(monkeypatch, '--methods', 'skd_fitnets', '--pairs', 'vgg13_vgg8')
    assert 'no configs/cifar100/skd_fitnets_vgg13_vgg8_240e_cifar100.py' in capsys.readouterr().err
