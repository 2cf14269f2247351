"""A frozen teacher computes no layer on which no record depends."""

import pytest
import torch
from mmrazor.models.task_modules.recorder import RecorderManager
from torch import nn

from skd_mmrazor.models.utils import FrozenTeacher
from skd_mmrazor.models.utils.unused_layers import replace_unused_layers


class TwoBranches(nn.Module):
    """Classes and boxes of a map, and a head of the boxes with the highest scores."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2)
        self.tower = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(inplace=True))
        self.boxes = nn.ConvTranspose2d(4, 2, 2, stride=2)
        self.classes = nn.Conv2d(4, 5, (1, 3))
        self.best = nn.Linear(4, 2)

    def forward(self, inputs, data_samples=None, mode='loss'):
        stem = self.stem(inputs)
        boxes = self.boxes(self.tower(stem))
        assert boxes.shape[2:] == (2 * stem.shape[2], 2 * stem.shape[3])
        place = boxes[:, 0, ::2, ::2].flatten(1).argmax(dim=1)
        best = stem.flatten(2)[torch.arange(len(inputs)), :, place]
        return self.classes(stem), self.best(best)


def freeze(**sources):
    """A frozen teacher whose recorders are of the modules that are named."""
    model = TwoBranches().eval().requires_grad_(False)
    kinds = {name: source.split(':') for name, source in sources.items()}
    recorders = RecorderManager({n: dict(type=k, source=s) for n, (k, s) in kinds.items()})
    recorders.initialize(model)
    return FrozenTeacher(model, recorders)


def names_of_zeros(teacher):
    kinds = {name: type(module).__name__ for name, module in teacher.module.named_modules()}
    return [name for name, kind in kinds.items() if kind == '_Zeros']


IMAGES = torch.randn(3, 3, 9, 13)


def test_what_no_record_depends_on_is_left_out():
    teacher = freeze(x='ModuleOutputs:classes')
    (expected,) = teacher.record(IMAGES, None)['x']
    assert teacher.skip_unused(IMAGES, None) == 3
    assert names_of_zeros(teacher) == ['tower.0', 'boxes', 'best']
    assert all(not weight.requires_grad for weight in teacher.module.stem.parameters())
    torch.testing.assert_close(teacher.record(IMAGES, None)['x'], [expected], rtol=0, atol=0)
    # Images of another size, too.
    assert teacher.record(IMAGES[..., :11, :11], None)['x'][0].shape == (3, 5, 4, 3)


def test_what_a_record_depends_on_without_a_gradient_is_computed():
    """As proposals depend on the boxes of an RPN."""
    teacher = freeze(x='ModuleOutputs:best')
    (expected,) = teacher.record(IMAGES, None)['x']
    assert teacher.skip_unused(IMAGES, None) == 0
    torch.testing.assert_close(teacher.record(IMAGES, None)['x'], [expected], rtol=0, atol=0)


@pytest.mark.parametrize('source', ['ModuleInputs:boxes', 'ModuleOutputs:boxes'])
def test_a_recorded_layer_is_left_as_it_is(source):
    teacher = freeze(x='ModuleOutputs:classes', y=source)
    before = teacher.record(IMAGES, None)
    assert teacher.skip_unused(IMAGES, None) == 1
    assert names_of_zeros(teacher) == ['best']
    found = teacher.record(IMAGES, None)['y']
    assert str(found) == str(before['y'])


def test_a_result_without_a_graph_does_not_tell_what_it_needs():
    model = TwoBranches()
    assert not replace_unused_layers(model, lambda: [x.detach() for x in model(IMAGES)])
    # A weight that is recorded itself is used.
    unused = replace_unused_layers(model, lambda: [model(IMAGES)[0], model.best.weight])
    assert list(unused) == ['tower.0', 'boxes']
