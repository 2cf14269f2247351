import copy
import functools
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmpretrain.registry import DATASETS, MODELS, TRANSFORMS

from skd_mmrazor.datasets import Digits
from skd_mmrazor.engine.fingerprints import describe_dataset, hash_model
from skd_mmrazor.utils.descriptions import describe

from ..conftest import classifier


def build(**settings):
    torch.manual_seed(0)
    return MODELS.build(dict(classifier(2), **settings))


def test_a_model_is_known_by_weights_and_architecture_alone():
    model = build()
    assert hash_model(model) == hash_model(copy.deepcopy(model))
    assert hash_model(model) == hash_model(build(init_cfg=dict(type='Pretrained', checkpoint='a')))
    changed = []
    for change in (
        lambda m: m.head.fc.bias.data[0].add_(1e-6),
        lambda m: m.backbone.bn1.running_mean[0].add_(1e-6),
        lambda m: setattr(m.backbone.conv1, 'padding', (0, 0)),
        lambda m: setattr(m.backbone, 'relu', torch.nn.LeakyReLU()),
    ):
        other = copy.deepcopy(model)
        change(other)
        changed.append(hash_model(other))
    assert len({hash_model(model), *changed}) == 5
    # A matter of speed.
    assert hash_model(model.to(memory_format=torch.channels_last)) == hash_model(build())


@DATASETS.register_module()
class OtherDigits(Digits):
    """Lists the same images, and may read them in another way."""


@pytest.mark.parametrize('serialize_data', [True, False])
def test_a_data_set_is_known_by_its_type_and_what_it_lists(serialize_data):
    def found(**settings):
        cfg = dict(type='skd_mmrazor.Digits', pipeline=[dict(type='PackInputs')], indices=20)
        return describe_dataset(
            DATASETS.build({**cfg, 'serialize_data': serialize_data, **settings})
        )

    assert found() == found()
    others = [found(), found(indices=19), found(indices=list(range(1, 21))), found(split='val')]
    assert len({other['hash'] for other in others}) == 4
    assert found(type='OtherDigits') != found()


AUGMENT = dict(
    type='RandAugment',
    policies=[dict(type='Rotate', magnitude_range=(0, 30)), dict(type='Invert')],
    num_policies=2,
    magnitude_level=5,
)


@pytest.mark.parametrize(
    ('one', 'other'),
    [
        (dict(type='RandomFlip', prob=0.5), dict(type='RandomFlip', prob=0.4)),
        (dict(type='RandomFlip', prob=0.5), dict(type='RandomGrayscale', prob=0.5)),
        (AUGMENT, dict(AUGMENT, magnitude_level=6)),
        (AUGMENT, dict(AUGMENT, policies=AUGMENT['policies'][:1])),
    ],
)
def test_transforms_are_described_by_type_and_arguments(one, other):
    first, again, second = (json.dumps(describe(TRANSFORMS.build(c))) for c in (one, one, other))
    assert first == again
    assert first != second
    assert ' at 0x' not in first


def test_what_a_description_is_made_of():
    value = dict(
        a=np.arange(3), b=torch.zeros(100), c=(1, None), d=functools.partial(max, 1), e={2, 1}
    )
    found = describe(value)
    assert found['a'] == [0, 1, 2]
    assert len(found['b']) == 64, 'a hash, and not a list of 100'
    assert found['b'] == describe(np.zeros(100, np.float32)) != describe(np.ones(100, np.float32))
    assert found['c'] == [1, None]
    assert found['d'] == ['builtins.max', [1], {}]
    assert found['e'] == ['1', '2']
    assert json.loads(json.dumps(found)) == found


class Node:
    """Has its parent and its children, as an anchor generator or a transform may."""

    def __init__(self, parent=None):
        self.parent, self.children = parent or self, []


def test_what_refers_to_itself_is_described():
    def family(depth):
        nodes = [Node()]
        for _ in range(depth):
            nodes.append(Node(nodes[-1]))
            nodes[-2].children.append(nodes[-1])
        return nodes[0]

    assert json.dumps(describe(family(2))) == json.dumps(describe(family(2)))
    assert describe(family(2)) != describe(family(1))
    other = family(1)
    other.children[0].parent = other.children[0]
    assert describe(other) != describe(family(1)), 'the parent is another'
    twice = [1]
    assert describe([twice, twice]) == [[1], [1]], 'beside each other is not within'
    twice.append(twice)
    assert describe(dict(a=twice)) == dict(a=[1, dict(inside_itself=1)])


def test_an_attribute_that_is_called_type_is_described_beside_the_class():
    one, two = (describe(SimpleNamespace(type=value)) for value in (1, 2))
    assert one == dict(type='SimpleNamespace', type_=1)
    assert one != two


def test_a_module_is_described_by_its_buffers_too():
    """As a transform of torchvision, which may keep a mean or a table."""
    one, other = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    assert describe(one) == describe(other)
    other.running_mean[0] = 1
    assert describe(one) != describe(other)
