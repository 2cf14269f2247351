"""The Python-style configs are those of ``configs/`` in effect."""

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from .conftest import ROOT, run_python
from .digits_runs import KD, assert_same_state, digits, load, train
from .test_configs import build, step
from .test_configs import load as load_dicts

PYTHON_STYLE = ROOT / 'skd_mmrazor' / 'configs'
CONFIGS = sorted(
    path.relative_to(PYTHON_STYLE)
    for path in PYTHON_STYLE.rglob('*.py')
    if '_base_' not in path.parts
)


def twin(path):
    """The config of dicts: names with hyphens cannot be imported as a base."""
    return ROOT / 'configs' / str(path).replace('_w', '-w')


def settings(node):
    """A config without scopes, and with the bare names of its classes."""
    if isinstance(node, dict):
        node = {k: settings(v) for k, v in node.items() if k != '_scope_'}
        if isinstance(node.get('type'), str):
            node['type'] = node['type'].rpartition('.')[2]
        return node
    return [settings(value) for value in node] if isinstance(node, (list, tuple)) else node


@pytest.mark.parametrize('path', CONFIGS, ids=str)
def test_every_setting_outside_the_model_is_the_same(path):
    ours, theirs = (
        settings(Config.fromfile(p).to_dict()) for p in (PYTHON_STYLE / path, twin(path))
    )
    # mmpretrain's base of ImageNet leaves the type to the model, which has its own.
    ours['data_preprocessor'] |= {'type': theirs['data_preprocessor'].get('type')}
    theirs['data_preprocessor'].setdefault('type', None)
    # Names of parts that another key holds, or that the dicts leave in the open.
    parts = {'teacher', 'student', 'kd', 'dkd', 'dataset_type', 'train_pipeline', 'test_pipeline'}
    for cfg in (ours, theirs):
        for name in parts | {'model'}:
            cfg.pop(name, None)
    assert ours == theirs


@pytest.mark.parametrize('path', CONFIGS, ids=str)
def test_the_model_is_the_same(path):
    models, losses = [], []
    for file in (PYTHON_STYLE / path, twin(path)):
        torch.manual_seed(0)
        model = build(load_dicts(file))
        model.init_weights()
        torch.manual_seed(1)
        models.append(model)
        losses.append(step(model, path)[1])
    ours, theirs = models
    assert str(ours) == str(theirs)
    state = theirs.state_dict()
    assert list(ours.state_dict()) == list(state)
    assert all(torch.equal(value, state[name]) for name, value in ours.state_dict().items())
    assert losses[0] == losses[1]


def test_training_is_bitwise_the_same(tmp_path):
    train(tmp_path / 'dicts')
    cfg = Config.fromfile(PYTHON_STYLE / 'digits' / f'skd_{KD}.py'.replace('-w', '_w'))
    short = digits(tmp_path / 'classes')
    for key in ('train_dataloader', 'val_dataloader'):
        cfg[key].dataset.indices = short[key].dataset.indices
    cfg.train_dataloader.dataset.pipeline = short.train_dataloader.dataset.pipeline
    for key in ('work_dir', 'experiment_name'):
        cfg[key] = short[key]
    cfg.merge_from_dict(
        {
            'model.teacher_ckpt': None,
            'train_cfg.max_epochs': 2,
            'default_hooks.checkpoint': dict(interval=1, max_keep_ckpts=-1),
        }
    )
    Runner.from_cfg(cfg).train()
    assert_same_state(load(tmp_path / 'dicts', 2), load(tmp_path / 'classes', 2))


@pytest.mark.slow
def test_the_tools_take_it(tmp_path):
    """From a short training to a student that a test of mmpretrain's own config reads."""
    config = PYTHON_STYLE / 'digits' / f'skd_{KD}.py'.replace('-w', '_w')
    options = ('model.teacher_ckpt=None', 'train_cfg.max_epochs=1')
    checkpoint = 'default_hooks.checkpoint.interval=1'
    work_dir = tmp_path / 'run'
    output = run_python(
        'tools/train.py', config, '--work-dir', work_dir, '--cfg-options', *options, checkpoint
    )
    trained = output.split(' accuracy/top1: ')[1].split()[0]
    run_python(
        'tools/model_converters/convert_kd_ckpt_to_student.py',
        *(config, work_dir / 'epoch_1.pth', '--out-path', tmp_path / 'student'),
    )
    (student,) = (tmp_path / 'student').glob('*.py')
    output = run_python(
        'tools/test.py', student, student.with_suffix('.pth'), '--work-dir', tmp_path / 'test'
    )
    assert f'accuracy/top1: {trained} ' in output


def test_mmrazor_wants_names_of_recorders():
    """Why these are strings: mmrazor puts 'Recorder' behind the name."""
    from mmrazor.models.task_modules import ModuleOutputsRecorder, RecorderManager

    with pytest.raises(
        TypeError, match=r"unsupported operand type\(s\) for \+: 'ABCMeta' and 'str'"
    ):
        RecorderManager(dict(fc=dict(type=ModuleOutputsRecorder, source='head.fc')))
