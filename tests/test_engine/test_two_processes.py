"""Two processes on one machine, on its CPU."""

import pytest
import torch

from ..conftest import once_per_run, run_python
from .runs import difference, weights
from .two_processes import FSDP_ON_CPU, batches, build, distillers, optimizer, total

pytestmark = pytest.mark.slow


def launch(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('CUDA_VISIBLE_DEVICES', '')
        run_python(
            *('-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2'),
            *('-m', 'tests.test_engine.two_processes', folder),
        )


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return once_per_run(tmp_path_factory, 'two_processes', launch)


@pytest.fixture(scope='module')
def ranks(folder):
    return [torch.load(folder / f'{rank}.pth') for rank in (0, 1)]


def train_in_one(name, parts=1):
    """The mean loss over the parts of every batch, in one process."""
    model = build(name)
    optim_wrapper = optimizer(model)
    for batch in batches(parts):
        losses = [total(model(*part, mode='loss')) for part in batch]
        optim_wrapper.update_params(sum(losses) / parts)
    return weights(model)


@pytest.mark.parametrize('name', [*distillers(), 'accumulated'])
def test_both_processes_hold_the_same_weights(ranks, name):
    """Without ``find_unused_parameters``, which the worker does not set."""
    assert difference(ranks[0][name], ranks[1][name]) == 0
    start = weights(build('classes' if name == 'accumulated' else name))
    learns = [k for k in start if not torch.equal(start[k], ranks[0][name][k])]
    assert 'architecture.head.fc.weight' in learns
    assert any('simplifier' in k for k in learns) is (name != 'zero')


@pytest.mark.parametrize('name', ['classes', 'accumulated'])
def test_class_attention_is_that_of_the_doubled_batch(ranks, name):
    """A sample's target does not depend on the batch that it is in."""
    assert difference(ranks[0][name], train_in_one('classes')) < 1e-12


def test_sample_attention_sees_the_batch_of_its_process(ranks):
    """Two halves, each attending within itself, their gradients averaged."""
    assert difference(ranks[0]['samples'], train_in_one('samples', parts=2)) < 1e-12
    assert difference(ranks[0]['samples'], train_in_one('samples')) > 1e-4


def test_distillation_that_stops_needs_find_unused_parameters(ranks):
    ours, theirs = (rank['stopped'] for rank in ranks)
    assert difference(ours['weights'], theirs['weights']) == 0
    assert len(ours['losses']) == 8
    for rank in ranks:
        assert 'parameters that were not used in producing loss' in rank['error']


def test_processes_fill_and_read_one_store(ranks):
    """The run that reads runs no teacher, and trains the student of the run that wrote."""
    for rank in ranks:
        writer, reader = rank['stored']
        assert writer['stored']
        assert writer['rows'] == [(0, 16)] * 2
        assert reader['rows'] == [(16, 0)] * 2
        assert difference(reader['weights'], writer['weights']) == 0
    assert difference(ranks[0]['stored'][0]['weights'], ranks[1]['stored'][0]['weights']) == 0


@pytest.mark.skipif(not FSDP_ON_CPU, reason='FSDP of this torch needs a GPU')
def test_fsdp_trains_as_ddp_does_and_saves_the_whole_model(folder, ranks):
    for key, values in ranks[0]['ddp'].items():
        assert ranks[0]['fsdp'][key] == pytest.approx(values, rel=1e-4), key
    assert ranks[0]['fsdp']['distill.lam'][-1] != 0
    saved = torch.load(folder / 'fsdp' / 'iter_4.pth')['state_dict']
    for key, value in build('learned').state_dict().items():
        assert saved[key].shape == value.shape, key
