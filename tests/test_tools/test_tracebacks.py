"""Defects, and errors in the middle of a training, keep their traceback."""

import sys
from importlib.util import find_spec

import pytest

from skd_mmrazor.utils.command_line import read_config, run_tool

from ..digits_runs import train


@pytest.mark.skipif(find_spec('mmcv._ext') is not None, reason='mmcv has its operators')
@pytest.mark.parametrize('by_config', [False, True])
def test_operators_that_mmcv_lite_lacks_are_said_to_be(tmp_path, by_config):
    """As mmdetection and mmsegmentation need them, when they are imported."""
    (tmp_path / 'ops.py').write_text(
        "custom_imports = dict(imports=['mmcv.ops'], allow_failed_imports=False)"
    )

    def main():
        if by_config:
            read_config(tmp_path / 'ops.py')
        import mmcv.ops  # noqa: F401

    with pytest.raises(SystemExit, match=r"'mmcv\._ext'\. mmcv-lite has no operators.*mmcv==2"):
        run_tool(main)


@pytest.mark.parametrize(
    ('error', 'is_shown'), [(ValueError, False), (FileNotFoundError, False), (AttributeError, True)]
)
def test_a_defect_of_this_project_keeps_its_traceback(monkeypatch, error, is_shown):
    """The first two are what its checks raise."""

    def main():
        raise error('why')

    monkeypatch.setattr(sys, 'argv', [__file__])
    with pytest.raises(error if is_shown else SystemExit, match='why'):
        run_tool(main)


def test_an_error_in_the_middle_of_a_training_keeps_its_traceback(tmp_path, monkeypatch):
    """After hours of training, one sentence would say too little."""

    def main():
        hook = dict(type='tests.test_tools.test_tracebacks.Fail')
        train(tmp_path, custom_hooks=[hook])

    with pytest.raises(ValueError, match='in the middle'):
        run_tool(main)


class Fail:
    """A hook."""

    def __new__(cls):
        from mmengine.hooks import Hook

        class Failing(Hook):
            def after_train_iter(self, *args, **kwargs):
                raise ValueError('in the middle')

        return Failing()
