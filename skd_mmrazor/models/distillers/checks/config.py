"""Mistakes in a config that show before the models are seen."""

import contextlib
import warnings
from collections.abc import Iterator
from inspect import signature
from typing import Any

from mmrazor.models.architectures.connectors import BYOTConnector
from mmrazor.models.distillers import BYOTDistiller, ConfigurableDistiller, OFDDistiller
from mmrazor.models.losses import OFDLoss
from torch import nn

from ....utils import error_context, expect, is_integer
from ...losses.log_space_kl_divergence import check_entropy_grad
from ..logits.known_losses import SIDES
from ..logits.modules import LogitModel


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


def check_arguments(distiller: Any) -> None:
    """Raises a ValueError that names the first wrong argument of :class:`SKDDistiller`."""
    cfg, losses = distiller.simplifier_cfg, distiller.simplified_losses
    names, interval = distiller.logits_module, distiller.log_interval
    is_config = isinstance(cfg, dict) and 'type' in cfg
    expect(is_config, 'distiller.simplifier', cfg, "a dict with a 'type'")
    is_choice = losses is None or (isinstance(losses, dict) and bool(losses))
    expect(is_choice, 'distiller.simplified_losses', losses, "a dict like dict(loss_kl='preds_T')")
    check_entropy_grad('distiller.entropy_grad', distiller.entropy_grad)
    each = names.values() if isinstance(names, dict) and set(names) == set(SIDES) else [names]
    are_names = names is None or all(isinstance(name, str) for name in each)
    expected = f'the name of a module, or a dict of one for {SIDES}'
    expect(are_names, 'distiller.logits_module', names, expected)
    expect(is_integer(interval, 1), 'distiller.log_interval', interval, 'an integer > 0')


def check_parts(distiller: Any) -> None:
    """Checks the losses, connectors and deliveries of a distiller.

    Warns of losses that are not computed.

    Args:
        distiller (SKDDistiller): The distiller, whose parts are built.

    Raises:
        ValueError: A part needs another distiller, a delivery has no source, or no
            loss reads the student.
    """
    parts = (*distiller.distill_losses.values(), *distiller.connectors.values())
    for kind, own in ((OFDLoss, OFDDistiller), (BYOTConnector, BYOTDistiller)):
        valid = isinstance(distiller, own) or not any(isinstance(part, kind) for part in parts)
        expected = f"'SKD{own.__name__}' beside a {kind.__name__}"
        expect(valid, 'distiller.type', type(distiller).__name__, expected)
    deliveries = distiller.deliveries
    names, expected = list(deliveries.deliveries), 'functions and methods that exist'
    with error_context('distiller.distill_deliveries', names, expected), deliveries:
        pass
    mappings = distiller.loss_forward_mappings
    # mmrazor's config of factor transfer inherits one.
    for loss in [name for name in distiller.distill_losses if name not in mappings]:
        unused = f'distiller.distill_losses.{loss} is not computed: it is not among the'
        warnings.warn(f'{unused} loss_forward_mappings {list(mappings)}.', stacklevel=3)
    records = [record for mapping in mappings.values() for record in mapping.values()]
    # A distiller of the user's own may have other records than dicts.
    valid = not records or any(not isinstance(r, dict) or r.get('from_student') for r in records)
    expected = "a loss with 'from_student=True': SKD is for the distiller that trains the student"
    expect(valid, 'distiller.loss_forward_mappings', mappings, expected)


@contextlib.contextmanager
def check_sources(side: str, recorders: Any, model: nn.Module) -> Iterator[None]:
    """Adds the sources, and modules that may have the logits, to errors of the recorders.

    Args:
        side (str): ``'student'`` or ``'teacher'``.
        recorders (RecorderManager): The recorders.
        model (nn.Module): The model that they are prepared for.

    Raises:
        ValueError: Instead of any error inside; a TypeError stays one.
    """
    sources = {name: recorder.source for name, recorder in recorders.recorders.items()}
    expected = f'modules of {LogitModel(side, model).describe()}'
    with error_context(f'distiller.{side}_recorders', sources, expected):
        yield
        with recorders:  # Functions and methods are looked up when they are recorded.
            pass
