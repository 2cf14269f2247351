"""What a config of SKD can get wrong, found when it is built."""

import warnings
from inspect import Parameter, signature
from typing import Any

from torch import nn

from ...utils import expect, is_number, naming
from ..losses.teacher_gradient import TEACHER_FEATURES
from .config_errors import PARTS

# The argument by which a loss takes the student's logits, by the teacher's.
STUDENT_LOGITS = {
    'preds_T': 'preds_S',
    'logits_T': 'logits_S',
    'teacher': 'student',
    't_feature': 's_feature',
}
# What ``SKDDistiller`` logs beside the losses.
_LOGGED = ('teacher_entropy', 'simplified_entropy', 'agreement', 'lam')
_NAMED = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
# What it marks a record by that is to be simplified.
_MARKS = ('simplify', 'detach')


def check_arguments(distiller: type, kwargs: dict[str, Any]) -> None:
    """Finds arguments that would be ignored, or fail without a word on where.

    Args:
        distiller (type): The class that they are for.
        kwargs (dict): The arguments of a ``ConfigurableDistiller``.

    Raises:
        ValueError: Names the argument, what it is and what it may be.
    """
    known = _get_arguments(distiller, '__init__')
    for name, value in kwargs.items():
        expect(name in known, f'distiller.{name}', value, f'one of the arguments {known}')
    check_init_cfg('distiller.init_cfg', kwargs.get('init_cfg'))
    for part in PARTS:
        value = kwargs.get(part)
        expect(value is None or isinstance(value, dict), f'distiller.{part}', value, 'a dict')
        for name, cfg in (value or {}).items():
            source = cfg.get('source', '') if isinstance(cfg, dict) else ''
            expect(isinstance(source, str), f'distiller.{part}.{name}.source', source, 'a string')
    losses = kwargs.get('distill_losses') or {}
    mappings = kwargs.get('loss_forward_mappings') or {}
    for loss in losses:
        key = 'distiller.distill_losses'
        expect(loss not in _LOGGED, key, loss, 'another name: SKDDistiller logs by this one')
        # mmrazor's config of factor transfer inherits one.
        if loss not in mappings:
            warnings.warn(
                f'{key}.{loss} is not computed: it has no entry in loss_forward_mappings, which '
                f'has {list(mappings)}.',
                stacklevel=3,
            )
    for loss, mapping in mappings.items():
        key = f'distiller.loss_forward_mappings.{loss}'
        expect(loss in losses, key, mapping, f'one of distill_losses: {list(losses)}')
        expect(isinstance(mapping, dict), key, mapping, 'a dict of arguments')
        for argument, record in mapping.items():
            _check_record(f'{key}.{argument}', record, distiller, kwargs)


def _get_arguments(distiller: type, method: str) -> list[str]:
    """The arguments that a method takes, in the class or in one it passes them to."""
    return sorted(
        {
            name
            for base in distiller.__mro__
            if hasattr(base, method)
            for name, parameter in signature(getattr(base, method)).parameters.items()
            if parameter.kind in _NAMED and name != 'self'
        }
    )


def _check_record(key: str, record: Any, distiller: type, kwargs: dict[str, Any]) -> None:
    """Checks where an argument of a loss comes from."""
    expect(isinstance(record, dict), key, record, "a dict with a 'recorder'")
    known = [name for name in _get_arguments(distiller, 'get_record') if name not in _MARKS]
    for name, value in record.items():
        expect(name in known, f'{key}.{name}', value, f'one of the keys {known}')
    from_student = record.get('from_student')
    valid = isinstance(from_student, bool)
    expect(valid, f'{key}.from_student', from_student, 'True or False')
    side = 'student' if from_student else 'teacher'
    for name, part in (('recorder', f'{side}_recorders'), ('connector', 'connectors')):
        known, value = list(kwargs.get(part) or {}), record.get(name)
        valid = value in known or (name == 'connector' and value is None)
        expect(valid, f'{key}.{name}', value, f'one of {part}: {known}')
    for name in ('record_idx', 'data_idx', 'connector_idx'):
        value = record.get(name)
        valid = type(value) is int or (value is None and name != 'record_idx')
        expect(valid or name not in record, f'{key}.{name}', value, 'an integer')


def check_init_cfg(key: str, init_cfg: Any) -> None:
    """Raises a ValueError that names the key unless mmengine takes an ``init_cfg``."""
    valid = init_cfg is None or isinstance(init_cfg, (dict, list))
    expect(valid, key, init_cfg, 'a dict, or a list of dicts')


def check_simplify(mappings: dict[str, dict[str, dict]], loss: str, argument: str) -> None:
    """Makes sure that an argument of a loss is fed by the teacher.

    Args:
        mappings (dict): The distiller's ``loss_forward_mappings``.
        loss (str): Name of the loss.
        argument (str): Name of the argument.

    Raises:
        ValueError: There is no such loss or argument, or the student feeds it.
    """
    known = f'a loss of loss_forward_mappings: {list(mappings)}'
    expect(loss in mappings, 'distiller.simplify', loss, known)
    mapping = mappings[loss]
    known = f'an argument of that loss: {list(mapping)}'
    is_known = isinstance(argument, str) and argument in mapping
    expect(is_known, f'distiller.simplify.{loss}', argument, known)
    key = f'distiller.loss_forward_mappings.{loss}'
    from_student = mapping[argument]['from_student']
    expected = "False: the teacher's logits, recorded"
    expect(from_student is False, f'{key}.{argument}.from_student', from_student, expected)
    student = STUDENT_LOGITS.get(argument)
    if student in mapping:
        from_student = mapping[student]['from_student']
        expect(from_student, f'{key}.{student}.from_student', from_student, 'True')
    optimised = "a name with 'loss' in it: mmengine optimises no other, and SKD would not train"
    expect('loss' in loss, 'distiller.distill_losses', loss, optimised)


def check_mapping(name: str, loss: nn.Module, mapping: dict[str, dict]) -> None:
    """Makes sure that a loss gets all arguments that it needs.

    Args:
        name (str): The loss's name in ``distill_losses``.
        loss (nn.Module): The loss.
        mapping (dict): Its entry in ``loss_forward_mappings``.

    Raises:
        TypeError: Names the mapping and the argument that is missing.
    """
    arguments = signature(loss.forward)
    key = f'distiller.loss_forward_mappings.{name}'
    with naming(key, list(mapping), f'the arguments of {type(loss).__name__}: {arguments}'):
        arguments.bind(**mapping)


def check_use(
    losses: list[nn.Module], added: bool, entropy_grad: float, logits: str, logit_loss: Any
) -> None:
    """Finds arguments that would be ignored.

    Args:
        losses (list[nn.Module]): The losses that are simplified.
        added (bool): Whether ``logit_loss`` was added.
        entropy_grad (float): As for ``SKDDistiller``.
        logits (str): As for ``SKDDistiller``.
        logit_loss (dict | None): As for ``SKDDistiller``.

    Raises:
        ValueError: Names the argument and why it has no effect.
    """
    names = [type(loss).__name__ for loss in losses]
    used = entropy_grad == 0 or any(hasattr(loss, 'entropy_grad') for loss in losses)
    expected = f"0: the target's own entropy is no part of the gradient of {names}"
    expect(used, 'distiller.entropy_grad', entropy_grad, expected)
    expected = f'nothing: no loss is added beside {names}, which take logits'
    looked_for = added or any(type(loss) in TEACHER_FEATURES for loss in losses)
    expect(looked_for or logits == 'head.fc', 'distiller.logits', logits, expected)
    expect(added or logit_loss is None, 'distiller.logit_loss', logit_loss, expected)


def check_student_learns(mappings: dict[str, dict[str, dict]]) -> None:
    """Refuses a distiller without a student, such as one that trains a generator.

    Args:
        mappings (dict): The distiller's ``loss_forward_mappings``.

    Raises:
        ValueError: There are losses, and none reads the student.
    """
    reads_student = any(record['from_student'] for m in mappings.values() for record in m.values())
    expect(
        reads_student or not mappings,
        'distiller.loss_forward_mappings',
        {loss: list(mapping) for loss, mapping in mappings.items()},
        "a loss with 'from_student=True': SKD simplifies the teacher for a student, and has no "
        'meaning where a generator or the teacher side is trained; leave type as it was there',
    )


def check_minimised(name: str, loss: Any) -> None:
    """Refuses a loss that is maximised, as one that trains a generator is.

    Args:
        name (str): Name of the loss.
        loss (nn.Module): The loss.

    Raises:
        ValueError: Its weight is negative.
    """
    weight = getattr(loss, 'loss_weight', 1)
    expect(
        not is_number(weight) or weight >= 0,
        f'distiller.distill_losses.{name}.loss_weight',
        weight,
        'at least 0: a loss that is maximised trains a generator against the student, and SKD '
        'has no meaning there; leave type as it was',
    )


def get_common_tau(losses: dict[str, nn.Module]) -> float:
    """The temperature of the losses, 1 where none has any.

    Args:
        losses (dict[str, nn.Module]): The losses by name.

    Raises:
        ValueError: One is not a positive number, or they differ, so that the
            simplifier has to be told one.
    """
    taus: dict[str, Any] = {name: loss.tau for name, loss in losses.items() if hasattr(loss, 'tau')}
    for name, tau in taus.items():
        valid = is_number(tau) and tau > 0
        expect(valid, f'distiller.distill_losses.{name}.tau', tau, 'a positive number')
    agree = len(set(taus.values())) <= 1
    expect(agree, 'distiller.simplifier.tau', None, f'a number, since the losses have {taus}')
    return next(iter(taus.values()), 1.0)
