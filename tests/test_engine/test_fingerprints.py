import collections
import copy
import functools
import json
import random
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.model import ImgDataPreprocessor
from mmpretrain.registry import DATASETS, MODELS, TRANSFORMS
from PIL import Image

from skd_mmrazor.datasets.logit_store import CHANGES
from skd_mmrazor.engine.fingerprints import hash_model, hash_samples, keep_constant
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


def get_samples(**settings):
    cfg = dict(type='skd_mmrazor.Digits', pipeline=[dict(type='PackInputs')], indices=20)
    return hash_samples(DATASETS.build(dict(cfg, **settings)))


def test_a_data_set_is_known_by_what_it_lists():
    found = get_samples()
    assert get_samples() == get_samples(serialize_data=False) == found
    others = dict(indices=19), dict(indices=list(range(1, 21))), dict(split='val')
    assert len({found, *(get_samples(**other) for other in others)}) == 4


def test_the_same_images_may_be_in_another_folder(tmp_path):
    def found(root, names, slash=''):
        for name in names:
            (tmp_path / root / '0').mkdir(parents=True, exist_ok=True)
            (tmp_path / root / '0' / f'{name}.png').touch()
        cfg = dict(type='CustomDataset', data_root=str(tmp_path / root) + slash, pipeline=[])
        return hash_samples(DATASETS.build(cfg))

    assert found('a', 'xy') == found('b', 'xy') == found('b', 'xy', '/') != found('c', 'xz')


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


class Slots:
    """Has no ``__dict__``."""

    __slots__ = ('value',)

    def __init__(self, value):
        self.value = value

    def method(self):
        return self.value


class Owner(SimpleNamespace):
    def method(self):
        return self.value


def closure(value):
    return lambda image: image * value


def test_a_function_may_refer_to_what_is_not_there_yet():
    def outer():
        function = lambda: later  # noqa: E731
        found = describe(function)
        later = 1
        return found, later

    assert outer()[0][2] == [None]


def seeded_conv(seed):
    torch.manual_seed(seed)
    return torch.nn.Conv2d(1, 1, 1)


@pytest.mark.parametrize(
    'make',
    [
        lambda i: bytes([i]),
        lambda i: np.array(['a', f'{i}']),
        lambda i: np.array([{i}, None] * 50),
        lambda i: np.arange(i, 200)[::-1],
        lambda i: np.datetime64('2020-01-01') + i,
        lambda i: np.complex64(i),
        lambda i: Path(f'{i}'),
        range,
        slice,
        lambda i: complex(0, i),
        lambda i: collections.deque([i]),
        lambda i: re.compile(f'{i}'),
        lambda i: (torch.float16, torch.float32)[i],
        Slots,
        closure,
        lambda i: (lambda x: x, lambda x: x + 1)[i],
        lambda i: Owner(value=i).method,
        lambda i: Image.new('L', (2, 2), i),
        np.random.default_rng,
        np.random.RandomState,
        random.Random,
        lambda i: torch.Generator().manual_seed(i),
        lambda i: torch.nn.Sequential((torch.nn.ReLU(), torch.nn.Sigmoid())[i]),
        seeded_conv,
        lambda i: ImgDataPreprocessor(mean=[1] * 3, std=[1] * 3, bgr_to_rgb=bool(i)),
    ],
)
def test_what_tells_two_objects_apart_is_described(make):
    """Once each of these was described by its type alone."""
    assert describe(make(0)) == describe(make(0)) != describe(make(1))
    assert json.loads(json.dumps(describe(make(0)))) == describe(make(0))


def test_where_an_object_is_does_not_tell_it_apart():
    devices = (torch.device(name) for name in ('cpu', 'cuda:1'))
    assert len({describe(device) for device in devices}) == 1


def test_what_its_use_changes_is_no_part_of_a_description():
    fresh, used = dict(a=1, size=[0, 2], file=None), dict(a=1, size=[5, 2], file=Path('x'))
    found = keep_constant(*map(describe, (fresh, used)), 'key')
    assert found == dict(a=1, size=[CHANGES, 2], file=CHANGES)


def test_a_generator_that_the_hook_cannot_seed_is_refused():
    draw = random.Random(0)
    before = describe([draw])
    draw.random()
    with pytest.raises(ValueError, match=r"key\[0\]='a Random of its own', expected none"):
        keep_constant(before, describe([draw]), 'key')
