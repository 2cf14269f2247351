"""Losses that need one class index for each image refuse other labels by name."""

import pytest
import torch
from mmpretrain.structures import DataSample
from mmrazor.registry import MODELS

from ..conftest import algorithm, classifier, distiller

LOSSES = {
    'DKDLoss': dict(type='DKDLoss', tau=4),
    'LogSpaceDKDLoss': dict(type='LogSpaceDKDLoss', tau=4),
    'WSLD': dict(type='WSLD', tau=4, num_classes=10),
    'KLDivergence': dict(type='KLDivergence', tau=4),
}


def step(loss, samples, multi_label=False):
    cfg = algorithm(distiller({'loss_kd': LOSSES[loss]}))
    if multi_label:
        for part in ('architecture', 'teacher'):
            cfg[part] = classifier(2)
            cfg[part]['head'].update(type='MultiLabelLinearClsHead')
            cfg[part]['head']['loss'] = dict(type='CrossEntropyLoss', use_sigmoid=True)
    model = MODELS.build(cfg)
    model.train()
    return model(torch.randn(4, 1, 8, 8), samples, mode='loss')


def mixed():
    scores = torch.rand(4, 10).softmax(dim=1)
    return [DataSample().set_gt_label(0).set_gt_score(score) for score in scores]


def multiple():
    scores = torch.randint(2, (4, 10)).float()
    return [DataSample().set_gt_label([1, 2]).set_gt_score(score) for score in scores]


SAMPLES = dict(mixed=mixed, multiple=multiple)


@pytest.mark.parametrize('kind', SAMPLES)
@pytest.mark.parametrize('loss', ['DKDLoss', 'LogSpaceDKDLoss', 'WSLD'])
def test_labels_of_mixup_and_of_several_classes_are_named(loss, kind):
    message = r'loss_kd=.*gt_labels of class indices.*Mixup, CutMix.*multi-label.* index'
    with pytest.raises(ValueError, match=message):
        step(loss, SAMPLES[kind](), multi_label=kind == 'multiple')


@pytest.mark.parametrize('labels', [torch.rand(4), torch.eye(4, 10).long()])
def test_either_of_scores_and_one_hot_integers_is_refused(labels):
    loss = MODELS.build(dict(LOSSES['LogSpaceDKDLoss'], _scope_='mmrazor'))
    with pytest.raises(RuntimeError, match='index'):
        loss(torch.randn(4, 10), torch.randn(4, 10), labels)


@pytest.mark.parametrize('loss', LOSSES)
def test_one_class_an_image_is_accepted(loss):
    samples = [DataSample().set_gt_label(label) for label in range(4)]
    assert step(loss, samples)['distill.loss_kd'].isfinite()


@pytest.mark.parametrize('kind', SAMPLES)
def test_a_loss_without_labels_takes_either(kind):
    losses = step('KLDivergence', SAMPLES[kind](), multi_label=kind == 'multiple')
    assert losses['distill.loss_kd'].isfinite()
