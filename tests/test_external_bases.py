"""Configs of this project as the bases of other people's: ``skd_mmrazor::…``."""

from importlib.util import find_spec

import pytest
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.runner import Runner
from mmrazor.registry import MODELS

from skd_mmrazor.utils.command_line import read_config

from .conftest import ROOT

DIGITS = 'skd_mmrazor::digits/skd_kd_resnet14-w16_resnet10-w4_60e_digits.py'
QUICK = """
train_cfg = dict(max_epochs=1)
train_dataloader = dict(dataset=dict(indices=64))
val_dataloader = dict(dataset=dict(indices=64))
"""
# What lies in _base_, put together by hand.
PARTS = """
_base_ = [
    'skd_mmrazor::_base_/models/resnet14-w16_resnet10-w4_digits.py',
    'skd_mmrazor::_base_/losses/dkd_imagenet.py',
    'skd_mmrazor::_base_/datasets/digits_bs32.py',
    'skd_mmrazor::_base_/schedules/digits_60e.py',
]
fc = dict(fc=dict(type='ModuleOutputs', source='head.fc'))
labels = dict(gt_labels=dict(type='ModuleInputs', source='head.loss_module'))
model = dict(
    _scope_='mmrazor',
    type='SingleTeacherDistill',
    architecture=_base_.student,
    teacher=_base_.teacher,
    distiller=dict(
        type='SKDDistiller',
        simplifier=dict(type='AttentionSimplifierConnector'),
        student_recorders=dict(**fc, **labels),
        teacher_recorders=fc,
        **_base_.dkd))
"""


@pytest.mark.parametrize(
    'text',
    [
        f"_base_ = ['{DIGITS}']\nmodel = dict(teacher_ckpt=None)\n",
        PARTS,
        "_base_ = ['skd_mmrazor::digits/resnet10-w4_60e_digits.py']\n",
    ],
    ids=['distillation', 'parts', 'student'],
)
def test_trains(tmp_path, text):
    """Each part is built in the scope that mmengine wrote into it."""
    (tmp_path / 'mine.py').write_text(text + QUICK)
    cfg = Config.fromfile(tmp_path / 'mine.py')
    assert cfg.train_dataloader.dataset._scope_ == 'skd_mmrazor'
    cfg.work_dir = cfg.experiment_name = str(tmp_path / 'run')
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.iter == 2
    assert 'accuracy/top1' in runner.val()


def test_a_config_in_no_folder_is_found(tmp_path):
    """mmengine asks for a slash after the colons."""
    name = 'skd_kd_resnet34_resnet18_imagenet.py'
    (tmp_path / 'mine.py').write_text(f"_base_ = ['skd_mmrazor::{name}']\n")
    expected = Config.fromfile(ROOT / 'configs' / name)
    assert Config.fromfile(tmp_path / 'mine.py').model == expected.model
    assert get_config(f'skd_mmrazor::{name}').model == expected.model
    (tmp_path / 'mine.py').write_text("_base_ = ['skd_mmrazor::none.py']\n")
    with pytest.raises(FileNotFoundError, match=r'none\.py'):
        Config.fromfile(tmp_path / 'mine.py')


@pytest.mark.parametrize('name', ['imagenet_bs32', 'glyph100_in_memory_bs64'])
def test_what_makes_a_batch_gets_no_scope(tmp_path, name):
    """It is a function, of samples alone."""
    (tmp_path / 'mine.py').write_text(f"_base_ = ['skd_mmrazor::_base_/datasets/{name}.py']\n")
    loader = Config.fromfile(tmp_path / 'mine.py').train_dataloader
    assert loader.collate_fn._scope_ == 'skd_mmrazor'
    loader.update(dataset=[1.0] * 4, batch_size=4, num_workers=0, persistent_workers=False)
    (batch,) = Runner.build_dataloader(loader)
    assert list(batch) == [1.0] * 4
    assert loader.collate_fn._scope_ == 'skd_mmrazor', 'the config is left as it is'


@pytest.mark.parametrize(
    ('name', 'package'),
    [('SKDDistiller', 'skd_mmrazor'), ('KLDivergence', 'mmrazor'), ('ResNet', 'mmpretrain')],
)
def test_the_scope_knows_mmpretrain_mmrazor_and_the_plugin(name, package):
    found = MODELS.get(f'skd_mmrazor.{name}')
    assert found.__module__.split('.')[0] == package


# The names of a package, and where they stand.
NAMED = [
    ("default_scope = '{}'", 'default_scope'),
    ("model = dict(type='{}.ResNet')", 'model.type'),
    ("model = dict(type='{}.models.ResNet')", 'model.type'),
    ("model = dict(teacher=dict(_scope_='{}', type='ResNet'))", 'model.teacher._scope_'),
    ("model = dict(teacher=dict(cfg_path='{}::resnet.py'))", 'model.teacher.cfg_path'),
    ("val_dataloader = dict(pipeline=[dict(type='{}.Pack')])", 'val_dataloader.pipeline.0.type'),
    ("custom_hooks = [dict(type='EMAHook'), dict(_scope_='{}')]", 'custom_hooks.1._scope_'),
]


@pytest.mark.parametrize(
    ('package', 'wheel'),
    [('mmdet', 'mmdet'), ('mmseg', 'mmsegmentation'), ('mmaction', 'mmaction2')],
)
@pytest.mark.parametrize(('text', 'key'), NAMED, ids=[key for _, key in NAMED])
def test_a_package_that_is_not_installed_is_named(tmp_path, text, key, package, wheel):
    """mmengine would take another's class of that name, or run ``pip install``."""
    path = tmp_path / 'mine.py'
    for name in ('mmcls', 'mmpretrain', 'mmrazor', 'skd_mmrazor', 'mine'):
        path.write_text('model = {}\n' + text.format(name))
        read_config(path)
    if find_spec(package) is not None:
        pytest.skip(f'{package} is installed')
    path.write_text('model = {}\n' + text.format(package))
    message = rf"^{key}='{package}.*', expected {package} to be installed \(pip install {wheel}\)"
    with pytest.raises(ValueError, match=message):
        read_config(path)


def test_variables_that_nothing_is_built_from_may_name_any_package(tmp_path):
    (tmp_path / 'mine.py').write_text("model = {}\ntta_model = dict(type='mmaction.TTA')\n")
    assert read_config(tmp_path / 'mine.py').tta_model.type == 'mmaction.TTA'
