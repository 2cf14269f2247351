"""Distillers of classifiers by their recorders, losses and mappings."""

import copy

import torch
from mmrazor.registry import MODELS

from ..conftest import algorithm, batch, classifier

SKD = dict(type='SKDDistiller', simplifier=dict(type='AttentionSimplifierConnector'))
KL = dict(type='KLDivergence', tau=4)
FC = dict(type='ModuleOutputs', source='head.fc')


def records(student, teacher=None, **teacher_keys):
    """A mapping's two records, of recorders of the same name on both sides."""
    return dict(
        preds_S=dict(recorder=student, from_student=True),
        preds_T=dict(recorder=teacher or student, from_student=False, **teacher_keys),
    )


def build(recorders, losses, mappings, architecture=None, teacher=None, **arguments):
    cfg = dict(
        SKD,
        student_recorders=recorders[0] if isinstance(recorders, tuple) else recorders,
        teacher_recorders=recorders[1] if isinstance(recorders, tuple) else recorders,
        distill_losses=losses,
        loss_forward_mappings=mappings,
    )
    cfg.update(arguments)
    return MODELS.build(
        copy.deepcopy(
            algorithm(
                cfg,
                architecture=architecture or classifier(4),
                teacher=teacher or classifier(4),
            )
        )
    )


def step(model, size=4, num_classes=10):
    losses = model(*batch(size, num_classes), mode='loss')
    loss, _ = model.parse_losses(losses)
    loss.backward()
    assert loss.isfinite()
    return losses


@MODELS.register_module()
class OwnLoss(torch.nn.Module):
    """A loss of a user's own."""

    def __init__(self, **settings):
        super().__init__()
        self.__dict__.update(settings)

    def forward(self, preds_S, preds_T):
        """Squared distance."""
        return (preds_S - preds_T).square().mean()


OWN = dict(type='OwnLoss')


@MODELS.register_module()
class FirstClasses(torch.nn.Module):
    """A choice of classes."""

    def forward(self, logits):
        """The first ten."""
        return logits[:, :10]


METHOD = dict(
    type='MethodOutputs', source='mmpretrain.models.heads.linear_head.LinearClsHead.forward'
)


LINEAR = dict(
    type='TorchNNConnector', module_name='Linear', module_args=dict(in_features=20, out_features=10)
)
