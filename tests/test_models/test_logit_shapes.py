"""Logits of volumes, sequences and queries are simplified, and other shapes are told what to do."""

import contextlib
import re

import pytest
import torch
from mmrazor.registry import MODELS

from .logit_records import FC, KL, SKD, build, records, step


class _Volume(torch.nn.Module):
    def __init__(self, shape, step=1):
        super().__init__()
        self.shape, self.step = shape, step

    def forward(self, logits):
        return logits.reshape(logits.shape[0], -1, *self.shape)[..., :: self.step]


@pytest.mark.parametrize('shape', [(2,), (1, 2, 1)])
def test_volumes_and_sequences_of_logits_are_simplified(shape):
    MODELS.register_module(name='Volume', module=_Volume, force=True)
    model = build(
        dict(fc=FC),
        dict(loss_kl=KL),
        dict(
            loss_kl=dict(
                preds_S=dict(recorder='fc', from_student=True, connector='volume'),
                preds_T=dict(recorder='fc', from_student=False, connector='volume'),
            )
        ),
        connectors=dict(volume=dict(type='Volume', shape=shape)),
        simplifier=dict(SKD['simplifier'], num_classes=5),
    )
    step(model)


@pytest.mark.parametrize('shape', [(2,), (1, 1, 2)])
def test_volumes_and_sequences_of_other_sizes_are_told_the_connector(shape):
    """With an interpolation that takes them."""
    MODELS.register_module(name='Volume', module=_Volume, force=True)
    volume = dict(type='Volume', shape=shape)
    mapping = records('fc', connector='fewer')
    mapping['preds_S']['connector'] = 'volume'
    parts = dict(fc=FC), dict(loss_kl=KL), dict(loss_kl=mapping)
    settings = dict(simplifier=dict(SKD['simplifier'], num_classes=5))
    fewer = dict(volume, step=2)
    with pytest.raises(ValueError, match=r'loss_kl: shapes of the logits=') as caught:
        step(build(*parts, connectors=dict(volume=volume, fewer=fewer), **settings))
    (told,) = re.findall(r'connectors=(dict\(.*\)) and', str(caught.value))
    resized = [fewer, eval(told)['resize']]
    step(build(*parts, connectors=dict(volume=volume, fewer=resized), **settings))


def test_logits_of_other_dimensions_are_not_spread_over_each_other():
    """As those of a convolution of pooled maps, beside those of a linear layer."""
    MODELS.register_module(name='Volume', module=_Volume, force=True)
    pooled, flat = (dict(type='Volume', shape=shape) for shape in ((1, 1), ()))
    mapping = records('fc')
    mapping['preds_S']['connector'] = 'reshape'
    parts = dict(fc=FC), dict(loss_kl=KL), dict(loss_kl=mapping)
    with pytest.raises(ValueError, match=r'shapes of the logits=.*, expected as many dimensions'):
        step(build(*parts, connectors=dict(reshape=pooled)))
    step(build(*parts, connectors=dict(reshape=[pooled, flat])))


def test_classes_last_are_told_what_to_do():
    model = build(dict(fc=FC), dict(loss_kl=KL), dict(loss_kl=records('fc')))
    with pytest.raises(ValueError, match=r'\(2, 7, 10\), expected .*flatten\(0, -2\)'):
        model.distiller.simplifier(torch.randn(2, 7, 10))


@MODELS.register_module()
class ClassesLast(torch.nn.Module):
    """As queries have them."""

    def forward(self, logits):
        """(1, B, C)."""
        return logits.unsqueeze(0)


@MODELS.register_module()
class FlattenQueries(torch.nn.Module):
    """What the message says."""

    def forward(self, logits):
        """(B * Q, C)."""
        return logits.flatten(0, -2)


def test_classes_last_train_as_they_are_told():
    mapping = records('fc', connector='queries')
    mapping['preds_S']['connector'] = 'queries'
    for last, valid in ((['ClassesLast'], False), (['ClassesLast', 'FlattenQueries'], True)):
        connectors = dict(queries=[dict(type=name) for name in last])
        model = build(dict(fc=FC), dict(loss_kl=KL), dict(loss_kl=mapping), connectors=connectors)
        with contextlib.nullcontext() if valid else pytest.raises(ValueError, match='the classes'):
            step(model)
