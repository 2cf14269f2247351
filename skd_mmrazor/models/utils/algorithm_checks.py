"""Settings that an algorithm of mmrazor would silently ignore."""

import warnings
from typing import Any

from mmrazor.models import SingleTeacherDistill

from ...utils import expect
from ...utils.descriptions import describe
from .teacher_normalization import Normalization, keep_own_normalization

_TRAINED = ('student_trainable', 'teacher_trainable')
_SWITCHES = (*_TRAINED, 'calculate_student_loss', 'teacher_norm_eval')
_USED = 'model.data_preprocessor, which is used'
# Settings of a preprocessor other than normalization, with the value that has no effect.
_OTHERS = {'batch_augments': None, 'pad_size_divisor': 1, 'size': None, 'size_divisor': None}


def check_algorithm(algorithm: Any, from_zoo: bool = False) -> None:
    """Checks the switches of an algorithm, and how it prepares its images.

    mmengine prepares a batch once, by the ``data_preprocessor`` of the algorithm. The
    student's own has no effect, nor has ``train_cfg.augments``, which becomes a part
    of it; so they are refused unless they agree with the algorithm's. A teacher's own
    normalization is applied. Its augmentations belong to its own training, and are
    ignored.

    Args:
        algorithm (BaseAlgorithm): The algorithm.
        from_zoo (bool): Whether the student comes from a ``cfg_path``. Its
            preprocessing was not written by the user, so a warning replaces the
            error. Defaults to False.

    Raises:
        ValueError: A switch is no bool, or a part of the config has no effect.
    """
    for name in _SWITCHES:
        value = getattr(algorithm, name, False)
        expect(value in (True, False), f'model.{name}', value, 'True or False')
    used = algorithm.data_preprocessor
    try:
        _check_student(algorithm.architecture.data_preprocessor, used)
    except ValueError as error:
        if not from_zoo:
            raise
        warnings.warn(str(error), stacklevel=2)
    teacher = getattr(algorithm, 'teacher', None)
    if teacher is not None and keep_own_normalization(teacher, used):
        whole = type(algorithm).loss is SingleTeacherDistill.loss
        found = str(Normalization.of(teacher.data_preprocessor))
        name = type(algorithm).__name__
        expected = f'that of {_USED}: {name} runs parts of the teacher alone'
        expect(whole, 'model.teacher.data_preprocessor', found, expected)


def _check_student(own: Any, used: Any) -> None:
    """Refuses settings of the student's own preprocessor that the algorithm's lacks."""
    key, normalization = 'model.architecture.data_preprocessor', Normalization.of(own)
    valid = normalization.is_default() or normalization.equals(Normalization.of(used))
    expect(valid, key, str(normalization), f'none beside {_USED}: {Normalization.of(used)}')
    for name, nothing in _OTHERS.items():
        found, expected = (describe(getattr(p, name, nothing)) for p in (own, used))
        valid = found in (nothing, expected)
        alias = ' (train_cfg.augments)' if name == 'batch_augments' else ''
        expect(valid, f'{key}.{name}{alias}', found, f'that of {_USED}: {expected!r}')
