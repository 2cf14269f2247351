import torch
from mmengine.device import get_device
from mmrazor.engine.optimizers import SeparateOptimWrapperConstructor
from mmrazor.models.algorithms import DataFreeDistillation
from mmrazor.models.architectures.generators.base_generator import BaseGenerator

from skd_mmrazor.compat import data_free

OPTIMIZER = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))


def optimized(algorithm):
    """How many parameters the student's optimizer has."""
    build = SeparateOptimWrapperConstructor({'architecture': OPTIMIZER})
    groups = build(algorithm)['architecture'].optimizer.param_groups
    return sum(len(group['params']) for group in groups)


def with_distiller(algorithm):
    algorithm.architecture = torch.nn.Linear(2, 2)
    algorithm.distiller = torch.nn.Linear(2, 2)
    algorithm.distiller.bias.requires_grad = False
    return algorithm


class Algorithm(DataFreeDistillation):
    def __init__(self):
        torch.nn.Module.__init__(self)


def test_what_a_data_free_distiller_trains_is_optimized():
    assert optimized(with_distiller(Algorithm())) == 3


def test_the_optimizer_of_another_algorithm_stays_as_it_is():
    assert optimized(with_distiller(torch.nn.Module())) == 2


def test_a_generator_is_its_own_module():
    generator = BaseGenerator(8, 4, 2)
    assert generator.module is generator


def test_each_process_has_the_distiller_of_the_first_and_the_mean_of_the_gradients(monkeypatch):
    """As of two, where the other has no gradient; and only of the distiller's parameters."""
    monkeypatch.setattr(data_free, 'broadcast', lambda data: data.fill_(3))
    monkeypatch.setattr(data_free, 'all_reduce', lambda data, op: data.mul_(0.5))
    model = with_distiller(Algorithm()).to(get_device())
    data_free.leave_distiller_unwrapped(lambda *args: None, None, model)
    ours, theirs = model.distiller.weight, model.architecture.weight
    assert ours.eq(3).all()
    (ours + theirs).square().sum().backward()
    expected = 2 * (3 + theirs)
    torch.testing.assert_close(theirs.grad, expected)
    torch.testing.assert_close(ours.grad, expected / 2)
