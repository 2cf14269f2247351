"""Which part of a config an error of mmrazor or torch is about."""

import contextlib
from collections.abc import Iterator
from typing import Any

from mmrazor.models.distillers import ConfigurableDistiller
from torch import Tensor

from ...utils import naming

PARTS = (
    'student_recorders',
    'teacher_recorders',
    'distill_deliveries',
    'connectors',
    'distill_losses',
    'loss_forward_mappings',
)


@contextlib.contextmanager
def naming_parts(kwargs: dict[str, Any]) -> Iterator[None]:
    """Names the recorder, delivery, connector, loss or mapping that cannot be built.

    mmrazor builds them all in one constructor, whose errors do not tell which
    it was. So once it has failed each is built alone.

    Args:
        kwargs (dict): The arguments of a ``ConfigurableDistiller``.

    Raises:
        ValueError: In the place of any error inside; a TypeError stays one.
    """
    try:
        yield
    except Exception as error:
        built: dict[str, Any] = {}
        for part in PARTS:
            for name, cfg in (kwargs.get(part) or {}).items():
                with naming(f'distiller.{part}.{name}', cfg, 'a config that can be built'):
                    ConfigurableDistiller(**built, **{part: {name: cfg}})
            built[part] = kwargs.get(part)
        with naming('distiller', list(kwargs), 'arguments that fit each other'):
            raise error


@contextlib.contextmanager
def naming_losses(distiller: Any) -> Iterator[None]:
    """Names the record or the loss with which a training step fails.

    Args:
        distiller (ConfigurableDistiller): Holds the records of the step.

    Raises:
        ValueError: In the place of any error inside; a TypeError stays one.
    """
    try:
        yield
    except Exception as error:
        if 'out of memory' in str(error):
            raise
        for name, mapping in distiller.loss_forward_mappings.items():
            inputs = {}
            for argument, record in mapping.items():
                key = f'distiller.loss_forward_mappings.{name}.{argument}'
                with naming(key, record, 'a record that the step makes and its reader takes'):
                    inputs[argument] = distiller.get_record(**record)
            found = {
                argument: f'{_describe(inputs[argument])} from {_recorder(record)}'
                for argument, record in mapping.items()
            }
            loss = distiller.distill_losses[name]
            expected = f'inputs that {type(loss).__name__} takes'
            with naming(f'distiller.loss_forward_mappings.{name}', found, expected):
                loss(**inputs)
        with naming('distiller', type(distiller).__name__, 'losses that can be computed'):
            raise error


def _recorder(record: dict[str, Any]) -> str:
    side = 'student' if record['from_student'] else 'teacher'
    return f'{side}_recorders.{record["recorder"]}'


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        dtype = str(value.dtype).replace('torch.', '')
        return f'{dtype} of shape {tuple(value.shape)}'
    return type(value).__name__
