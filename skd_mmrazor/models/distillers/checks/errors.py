"""Adds the part of the config to errors of mmrazor or torch."""

import contextlib
import copy
from collections.abc import Iterator
from inspect import signature
from typing import Any

from mmrazor.models.distillers import ConfigurableDistiller

from ....utils import error_context


@contextlib.contextmanager
def name_part(kwargs: dict[str, Any]) -> Iterator[None]:
    """Names the recorder, delivery, connector, loss or mapping that cannot be built.

    mmrazor builds all of them in one constructor, whose errors do not say which one
    failed. So after an error each is built by itself.

    Args:
        kwargs (dict): The arguments of a ``ConfigurableDistiller``.

    Raises:
        ValueError: Instead of any error inside; a TypeError stays one.
    """
    try:
        yield
    except Exception as error:
        built: dict[str, Any] = {}
        for part in filter(kwargs.get, signature(ConfigurableDistiller).parameters):
            with error_context(f'distiller.{part}', kwargs[part], 'a dict of configs'):
                cfgs = kwargs[part].items()
            for name, cfg in cfgs:
                with error_context(f'distiller.{part}.{name}', cfg, 'a config that can be built'):
                    ConfigurableDistiller(**built, **{part: {name: cfg}})
            built[part] = kwargs[part]
        with error_context('distiller.*', list(kwargs), 'arguments that it takes'):
            raise error


@contextlib.contextmanager
def name_loss(distiller: Any) -> Iterator[None]:
    """Names the record or the loss with which a training step fails.

    Args:
        distiller (ConfigurableDistiller): Holds the records of the step.

    Raises:
        ValueError: Instead of any error inside; a TypeError stays one.
    """
    try:
        yield
    except Exception as error:
        if 'memory' in str(error):  # Of a GPU or, in other words, of a CPU.
            raise
        expected = (
            'records that the step makes, of shapes that the loss takes; gt_labels of class '
            'indices, which Mixup, CutMix, to_onehot and multi-label images do not have'
        )
        for name, mapping in distiller.loss_forward_mappings.items():
            # A copy, since the user's loss may have a state.
            loss = copy.deepcopy(distiller.distill_losses[name])
            with error_context(f'distiller.loss_forward_mappings.{name}', mapping, expected):
                loss(**{k: distiller.get_record(**record) for k, record in mapping.items()})
        with error_context('distiller', type(distiller).__name__, 'losses that can be computed'):
            raise error
