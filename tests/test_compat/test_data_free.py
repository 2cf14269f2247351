import torch
from mmrazor.engine.optimizers import SeparateOptimWrapperConstructor
from mmrazor.models.algorithms import DataFreeDistillation
from mmrazor.models.architectures.generators.base_generator import BaseGenerator

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
