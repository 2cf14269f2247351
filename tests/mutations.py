"""Values for each key of the valid configs, and which of them train."""

import copy
import re

import pytest
import torch

from .valid_configs import FORWARD, VALID, assert_is_ours, assert_trains, parent, train_step

DELETED = type('Deleted', (), {'__repr__': lambda self: 'DELETED'})()
KL = {'type': 'KLDivergence'}
VALUES = [
    *(DELETED, None, True, False, 0, 1, -1, 2, 7, 10, 0.5, -0.5, 1e-30, 10**400),
    *(float('nan'), float('inf'), -float('inf')),
    *('', 'x', b'fc', 'fc', 'gt_labels', 'head.fc', 'head', 'neck', 'backbone.conv1', FORWARD),
    *('loss_kl', 'loss_dkd', 'preds_S', 'preds_T', 'teacher', 'none', 'sum', 'classes'),
    *('KLDivergence', 'CrossEntropyLoss', 'L2Loss', 'DKDLoss', 'SKDDistiller'),
    *('OFDDistiller', 'BYOTDistiller', 'OFDLoss', 'BYOTConnector', 'nowhere.X', 'a.b.c'),
    *('AttentionSimplifierConnector', 'ModuleInputs', 'FunctionOutputs', 'Parameter'),
    *([], {}, (), [1], [{}], {'x': 1}, KL, {'type': 'Nope'}, {1}),
    *(dict, torch.nn.Linear, torch.nn.Identity),
]
FALSY = [DELETED, None, False, 0, '', [], {}, ()]
FLAG = [True, False]
TAUS = [DELETED, 1, 2, 7, 10, 0.5]
WEIGHTS = [DELETED, 0, 1, 2, 7, 10, 0.5, 1e-30]
SHARES = [DELETED, 0, 1, 0.5, 1e-30]
# What trains beside the value that the config has, by config and key; the first pattern
# that matches counts.
ACCEPTED = {
    r'.*: simplifier\.num_classes': [DELETED, None],
    r'.*: simplifier\.tau': [*TAUS, None, 1e-30],
    r'.*: simplifier\.attend_over': [DELETED],
    r'.*: simplifier\.embed_dims': [DELETED, 2, 10],
    r'.*: simplifier\.num_heads': [DELETED, 1, 2],
    r'.*: simplifier\.max_lam': [DELETED, 0, 0.5, 1e-30],
    r'.*: simplifier\.(learn_lam)': [DELETED, *FLAG],
    r'.*: simplifier\.softening': [DELETED],
    r'.*: simplified_losses': [DELETED, None],
    r'.*entropy_grad': SHARES,
    r'.*: logits_module': [DELETED, None, '', 'head'],
    r'.*: logit_loss': [DELETED, None, KL],
    # Two losses of one simplifier.
    r'kd and wsld: distill_losses\..*tau': [],
    r'.*tau': TAUS,
    r'.*\.(alpha|beta|inter_loss_weight)': [*WEIGHTS, -1, -0.5],
    r'.*\.loss_weight': WEIGHTS,
    r'.*\.teacher_detach': [DELETED, *FLAG],
    r'.*\.reduction': [DELETED, 'none', 'sum'],
    # mmrazor takes anything for true or false.
    r'.*\.(with_l2_norm|mult_tem_square)': VALUES,
    r'(kd|kd with.*|methods): distill_losses\.loss_(kl|ce)': [KL],
    # The output of the head is that of its last layer.
    r'(?!methods: student).*fc\.source': ['head.fc', 'head'],
    r'.*connectors\.widen': [[]],
    r'.*connectors\.widen\.type': [torch.nn.Identity],
    r'.*gt_labels\.data_idx': [True, -1],
    r'.*preds_.\.data_idx': [False, -1],
    r'.*\.record_idx': [DELETED, False, -1],
    r'.*\.connector': [DELETED],
    r'.*: distill_deliveries': FALSY,
    r'.*: distill_deliveries\.loss': [DELETED],
    r'.*\.max_keep_data': [True, 1, 2, 7, 10],
    # A loss that is not computed is warned of, and one of the logits is added.
    r'(?!kd with).*: loss_forward_mappings': FALSY,
    r'(?!kd with).*: loss_forward_mappings\.\w+': [DELETED],
    # Then it is a loss of the student alone, and one of the logits is added.
    r'(l2.*|features.*): .*(preds_T|t_feature)\.from_student': FLAG,
}
# Right by themselves, and wrong beside another key, which is the one that is named.
ELSEWHERE = [*FALSY, 1, 7, 10, 0.5, 1e-30, 'head.fc', 'head', 'neck', 'backbone.conv1']
ELSEWHERE += [FORWARD, 'preds_S', KL, {'x': 1}, {'type': 'Nope'}, dict, torch.nn.Identity]
ELSEWHERE += ['KLDivergence', 'CrossEntropyLoss', 'DKDLoss', 'OFDLoss']
ELSEWHERE += ['AttentionSimplifierConnector', 'ModuleInputs', 'FunctionOutputs', 'Parameter']


def among(value, values):
    """Whether a value is one of them."""
    return repr(value) in map(repr, values)  # True is not 1, and NaN is NaN.


def get_values(path):
    # Of a queue that holds nothing mmrazor complains in a step, without the key.
    return [value for value in VALUES if value or path[-1] != 'max_keep_data']


def is_accepted(name, path, value):
    if among(value, [parent(VALID[name], path)[path[-1]]]):
        return True
    key = f'{name}: {".".join(path)}'
    return among(value, next((v for k, v in ACCEPTED.items() if re.fullmatch(k, key)), []))


def mutate(cfg, path, value):
    if value is DELETED:
        del parent(cfg, path)[path[-1]]
    else:
        parent(cfg, path)[path[-1]] = copy.deepcopy(value)


def assert_refused_by_name(error, path, value):
    """The message names the key and the value found."""
    assert_is_ours(error)
    key, owner = path[-1], path[-2] if len(path) > 1 else ''
    forms = [f'{key}={value!r}', f"'{key}': {value!r}"]
    if key == 'source':  # Recorders are listed as name: source.
        forms.append(f"'{owner}': {value!r}")
    if not any(form in str(error) for form in forms):
        assert among(value, ELSEWHERE), (path, value, str(error))
        named = rf'\b({key}|{owner or key}|loss_skd|loss_forward_mappings|simplified_losses)\b'
        assert re.search(named, str(error)), (path, value, str(error))


def assert_expected(name, path, value):
    cfg = copy.deepcopy(VALID[name])
    mutate(cfg, path, value)
    if is_accepted(name, path, value):
        assert_trains(train_step(cfg))
        return
    with pytest.raises((ValueError, TypeError)) as caught:
        train_step(cfg)
    assert_refused_by_name(caught.value, path, value)
