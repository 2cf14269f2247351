"""mmrazor's StopDistillHook, as this project's tools build it."""

import pytest
from mmrazor.registry import HOOKS


@pytest.mark.parametrize('epoch', [-1, '5', None, True, float('nan')])
def test_a_stop_before_the_first_epoch_is_named(epoch):
    with pytest.raises(ValueError, match=rf'StopDistillHook: stop_epoch={epoch!r}, expected the n'):
        HOOKS.build(dict(type='mmrazor.StopDistillHook', stop_epoch=epoch))


@pytest.mark.parametrize('epoch', [0, 30, 7.5])
def test_any_other_epoch_is_accepted(epoch):
    assert HOOKS.build(dict(type='mmrazor.StopDistillHook', stop_epoch=epoch)).stop_epoch == epoch
