"""SKD beside the distillers of other methods, and those that read records in their own way."""

import copy
import pickle

import pytest
import torch
from mmrazor.models.distillers import ConfigurableDistiller
from mmrazor.registry import MODELS

from skd_mmrazor.models import SKDDistiller

from ..conftest import algorithm, batch, distiller
from .skd_models import LOGIT_LOSSES, simplifier


def methods_own(type_, losses, **parts):
    recorder = dict(type='ModuleOutputs', source='head.fc')
    features = dict(
        s_feature=dict(recorder='fc', from_student=True),
        t_feature=dict(recorder='fc', from_student=False),
    )
    return dict(
        _scope_='mmrazor',
        type=type_,
        simplifier=simplifier(),
        student_recorders=dict(fc=recorder),
        teacher_recorders=dict(fc=recorder),
        distill_losses=dict(loss_x=losses),
        loss_forward_mappings=dict(loss_x=features),
        **parts,
    )


BYOT = dict(type='BYOTConnector', in_channel=4, out_channel=4, num_classes=10)


@pytest.mark.parametrize(
    ('name', 'loss', 'parts'),
    [
        ('SKDOFDDistiller', dict(type='OFDLoss'), {}),
        ('SKDBYOTDistiller', dict(type='L1Loss'), dict(connectors=dict(c=BYOT))),
    ],
)
def test_a_method_with_a_distiller_of_its_own_is_told_the_type(name, loss, parts):
    built = MODELS.build(methods_own(name, loss, **parts))
    assert isinstance(built, SKDDistiller)
    assert type(built).__name__ == name
    with pytest.raises(ValueError, match=f"distiller.type='SKDDistiller', expected '{name}'"):
        MODELS.build(methods_own('SKDDistiller', loss, **parts))


@pytest.mark.parametrize('name', ['SKDDistiller', 'SKDOFDDistiller', 'SKDBYOTDistiller'])
def test_an_algorithm_can_be_copied_and_pickled(name):
    cfg = distiller({'loss_kl': LOGIT_LOSSES['KLDivergence']}, type=name, log_interval=1)
    model = MODELS.build(algorithm(cfg))
    data = batch()
    for same in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(same.distiller) is type(model.distiller)
        torch.testing.assert_close(same(*data, mode='loss'), model(*data, mode='loss'))


@MODELS.register_module()
class NoisyConnector(torch.nn.Module):
    """Has a state, and draws random numbers, in training mode."""

    def __init__(self):
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(10)
        self.dropout = torch.nn.Dropout()

    def forward(self, logits):
        return self.dropout(self.norm(logits))


def test_a_connector_runs_once_in_a_step():
    """Its state and the random numbers are those of a step without SKD."""
    found = []
    for skd in (False, True):
        cfg = distiller({'loss_kl': LOGIT_LOSSES['KLDivergence']}, skd)
        cfg['connectors'] = dict(noisy=dict(type='NoisyConnector'))
        cfg['loss_forward_mappings']['loss_kl']['preds_S']['connector'] = 'noisy'
        torch.manual_seed(3)
        model = MODELS.build(algorithm(copy.deepcopy(cfg)))
        model.train()
        torch.manual_seed(4)
        model(*batch(), mode='loss')
        state = model.distiller.connectors.state_dict()
        assert state.pop('noisy.norm.num_batches_tracked') == 1
        found.append([torch.rand(1), *state.values()])
    torch.testing.assert_close(*found)


@MODELS.register_module()
class ScalingDistiller(ConfigurableDistiller):
    """A distiller whose records can be scaled and detached."""

    def get_record(self, *args, scale=1.0, detach=False, **kwargs):
        """Gets a record times ``scale``."""
        record = scale * super().get_record(*args, **kwargs)
        return record.detach() if detach else record


@MODELS.register_module()
class ScalingSKDDistiller(SKDDistiller, ScalingDistiller):
    """That, with SKD."""


def test_a_record_has_the_keys_of_its_base():
    cfg = distiller({'loss_kl': LOGIT_LOSSES['KLDivergence']}, type='ScalingSKDDistiller')
    mapping = cfg['loss_forward_mappings']['loss_kl']
    mapping['preds_S'].update(scale=2.0, detach=True)
    mapping['preds_T'].update(scale=3.0, detach=False)
    model = MODELS.build(algorithm(copy.deepcopy(cfg)))
    loss = model(*batch(), mode='loss')['distill.loss_kl']
    loss.backward()
    assert loss > 0
    assert model.student.head.fc.weight.grad is None
    assert model.distiller.simplifier.lam_logit.grad.abs() > 0


@MODELS.register_module()
class SummingDistiller(ConfigurableDistiller):
    """A distiller that reads a list of recorders in its own way."""

    def get_record(self, recorder, **kwargs):
        """Gets the sum of the records."""
        names = recorder if isinstance(recorder, (list, tuple)) else [recorder]
        return sum(super(SummingDistiller, self).get_record(name, **kwargs) for name in names)

    def _check_loss_forward_mappings(self, *args):
        """Mappings have a schema of their own."""


@MODELS.register_module()
class SummingSKDDistiller(SKDDistiller, SummingDistiller):
    """That, with SKD."""


def test_mappings_of_another_schema_are_left_to_their_distiller():
    found = []
    for name in ('SummingDistiller', 'SummingSKDDistiller'):
        torch.manual_seed(3)
        settings = dict(num_classes=10, start_factor=1)
        cfg = distiller(
            {'loss_kl': LOGIT_LOSSES['KLDivergence']},
            skd='SKD' in name,
            **(dict(simplifier=simplifier(**settings)) if 'SKD' in name else {}),
        )
        cfg['type'] = name
        for record in cfg['loss_forward_mappings']['loss_kl'].values():
            record['recorder'] = ['fc', 'fc']
        model = MODELS.build(algorithm(cfg))
        torch.manual_seed(4)
        found.append(model(*batch(), mode='loss')['distill.loss_kl'])
    torch.testing.assert_close(*found)


@MODELS.register_module()
class PathDistiller(ConfigurableDistiller):
    """A distiller whose records are ``'student.fc'`` and such."""

    def get_record(self, path=None, **kwargs):
        """Gets a record by its path."""
        if path:
            side, _, name = path.partition('.')
            kwargs = dict(recorder=name, from_student=side == 'student')
        return super().get_record(**kwargs)

    def compute_distill_losses(self):
        """Of paths, the losses of features."""
        losses = {}
        for name, mapping in self.loss_forward_mappings.items():
            read = {
                key: self.get_record(**(dict(path=value) if isinstance(value, str) else value))
                for key, value in mapping.items()
            }
            losses[name] = self.distill_losses[name](**read)
        return losses

    def _check_loss_forward_mappings(self, *args):
        """Mappings have a schema of their own."""


@MODELS.register_module()
class PathSKDDistiller(SKDDistiller, PathDistiller):
    """That, with SKD."""


def test_records_that_are_no_dicts_are_left_to_their_distiller():
    cfg = distiller(
        {'loss_l2': dict(type='L2Loss')},
        type='PathSKDDistiller',
        logit_loss=dict(type='KLDivergence'),
    )
    cfg['loss_forward_mappings']['loss_l2'] = dict(s_feature='student.fc', t_feature='teacher.fc')
    model = MODELS.build(algorithm(cfg))
    losses = model(*batch(), mode='loss')
    assert losses['distill.loss_l2'] > 0
    assert losses['distill.loss_skd'] > 0
