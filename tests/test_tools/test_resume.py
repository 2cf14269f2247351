"""Runs that are killed in the middle of an epoch, through the tool."""

import signal

import pytest
import torch

from ..conftest import ROOT, run_python
from ..digits_runs import assert_same_state, digits

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ('num_workers', 'persistent'),
    [
        pytest.param(0, False, marks=pytest.mark.nightly),
        pytest.param(2, False, marks=pytest.mark.nightly),
        (2, True),
    ],
    ids=str,
)
def test_a_killed_run_resumes_bitwise(tmp_path, num_workers, persistent):
    """Student, simplifier and optimizer equal those of a run that never stopped."""
    cfg = digits(
        tmp_path,
        **{
            'train_dataloader.num_workers': num_workers,
            'train_dataloader.persistent_workers': persistent,
        },
    )
    cfg.custom_imports.imports.append('tests.kill_hook')
    cfg.custom_hooks.append(dict(type='KillHook', epoch=2, iteration=2))
    cfg.pop('experiment_name')
    cfg.dump(tmp_path / 'config.py')

    def train(work_dir, *arguments, kill=False):
        options = [] if kill else ['--cfg-options', 'custom_hooks.2.epoch=0']
        return run_python(
            *(ROOT / 'tools' / 'train.py', tmp_path / 'config.py', '--work-dir', work_dir),
            *(*arguments, *options),
            returncode=-signal.SIGKILL if kill else 0,
        )

    train(tmp_path / 'whole')
    train(tmp_path / 'parts', kill=True)
    assert not (tmp_path / 'parts' / 'epoch_2.pth').exists()
    assert 'resumed epoch: 1, iter: 3' in train(tmp_path / 'parts', '--resume')
    whole, parts = (torch.load(tmp_path / run / 'epoch_2.pth') for run in ('whole', 'parts'))
    assert 'distiller.simplifier.lam_logit' in whole['state_dict']
    assert_same_state(whole, parts)
