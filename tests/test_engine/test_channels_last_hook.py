from types import SimpleNamespace

import pytest
import torch
from torch import nn

from skd_mmrazor.engine import ChannelsLastHook

from . import runs
from .runs import difference, logged, weights

HOOK = dict(type='mmrazor.ChannelsLastHook')


def train(work_dir, width=8, **settings):
    return runs.train(work_dir, width=width, **settings)


def layouts(runner):
    """Whether convolutions have their channels innermost, of all with more than one."""
    return {
        module.weight.stride(1) == 1
        for module in runner.model.modules()
        if isinstance(module, nn.Conv2d) and min(module.weight.shape[1:]) > 1
    }


@pytest.fixture(scope='module')
def plain(tmp_path_factory):
    return train(tmp_path_factory.mktemp('plain'))


def test_the_student_learns_the_same_to_rounding(tmp_path, plain):
    runner = train(tmp_path, custom_hooks=[HOOK])
    assert layouts(plain) == {False}
    assert layouts(runner) == {True}
    for key in ('student.loss', 'distill.loss_kl', 'loss'):
        assert logged(runner, key) == pytest.approx(logged(plain, key), rel=1e-4), key
    assert difference(weights(runner.model), weights(plain.model)) < 1e-5


@pytest.mark.parametrize('first', [True, False], ids=['with then without', 'without then with'])
def test_a_run_resumes_with_it_and_without(tmp_path, first):
    """Two iterations with the hook and two without, or the other way round."""
    settings = dict(
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2)),
    )
    hooks = [[HOOK] if first else [], [] if first else [HOOK]]
    whole = train(tmp_path / 'whole', custom_hooks=hooks[0], **settings)
    runner = train(
        tmp_path / 'resumed',
        custom_hooks=hooks[1],
        resume=True,
        load_from=str(tmp_path / 'whole' / 'iter_2.pth'),
        **settings,
    )
    assert (layouts(whole), layouts(runner)) == ({first}, {not first})
    ours, theirs = (torch.load(f'{r.work_dir}/iter_4.pth') for r in (runner, whole))
    assert list(ours['state_dict']) == list(theirs['state_dict'])
    assert difference(weights(runner.model), weights(whole.model)) < 1e-5


def test_what_onednn_cannot_train_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r'in_channels of .*downsample.*=7, expected at least 8.*6035'
    ):
        train(tmp_path, width=7, custom_hooks=[HOOK])


@pytest.mark.parametrize('stride', [(1, 2), (2, 1)])
def test_a_stride_in_one_direction_is_refused_too(stride):
    model = nn.Sequential(nn.Conv2d(7, 4, 1, stride))
    with pytest.raises(ValueError, match='in_channels of 0=7, expected at least 8'):
        ChannelsLastHook().before_train(SimpleNamespace(model=model))


@pytest.mark.parametrize('stride', [2, 3])
@pytest.mark.parametrize('in_channels', [8, 9])
def test_what_is_not_refused_has_its_gradient(in_channels, stride):
    """With one channel less the gradient would be wrong on some processors."""
    conv = nn.Conv2d(in_channels, 4, 1, stride, bias=False).to(memory_format=torch.channels_last)
    exact = nn.Conv2d(in_channels, 4, 1, stride, bias=False).double()
    exact.load_state_dict(conv.state_dict())
    images = torch.randn(8, in_channels, 9, 9)
    for module in (conv, exact):
        out = module(images.to(module.weight.dtype, memory_format=torch.channels_last))
        out.square().sum().backward()
    torch.testing.assert_close(conv.weight.grad.double(), exact.weight.grad, rtol=1e-4, atol=1e-4)
