"""Where a config of SKD does not fit its models, found when they are built."""

from typing import Any

import torch
from torch import Tensor, nn

from ...utils import expect, is_integer, is_number, naming
from .config_checks import STUDENT_LOGITS


def check_recorder_sources(side: str, recorders: dict[str, Any], model: nn.Module) -> None:
    """Finds a recorder on something that does not exist.

    Args:
        side (str): ``'student'`` or ``'teacher'``.
        recorders (dict): The recorders by name.
        model (nn.Module): The model that they are to record.

    Raises:
        ValueError: Names the recorder, its source and the linear layers, among
            which the logits are.
    """
    modules = dict(model.named_modules())
    linear = [name for name, module in modules.items() if isinstance(module, nn.Linear)]
    for name, recorder in recorders.items():
        source = recorder.source
        key = f'distiller.{side}_recorders.{name}.source'
        if name == 'skd_logits':  # which SKDDistiller added
            key = 'distiller.logits'
        if type(recorder).__name__.startswith('Module'):
            expected = f'a module of the {side} {type(model).__name__}; its linear layers: {linear}'
            expect(isinstance(source, str) and source in modules, key, source, expected)
        else:
            with naming(key, source, 'a function, a method or a parameter that exists'):
                recorder.initialize(model)
                with recorder:
                    pass


def check_deliveries(deliveries: dict[str, Any]) -> None:
    """Finds a delivery of a function or method that does not exist.

    Args:
        deliveries (dict): The deliveries by name.

    Raises:
        ValueError: Names the delivery.
    """
    for name, delivery in deliveries.items():
        key = f'distiller.distill_deliveries.{name}'
        kept = delivery.max_keep_data
        expect(is_integer(kept, 1), f'{key}.max_keep_data', kept, 'an integer of at least 1')
        with naming(key, type(delivery).__name__, 'a function or a method that exists'), delivery:
            pass


def check_num_classes(
    mapping: dict[str, dict], argument: str, student: dict[str, int | None], num_classes: int
) -> None:
    """Makes sure that student and teacher tell the same classes apart.

    Args:
        mapping (dict): The loss's entry in ``loss_forward_mappings``.
        argument (str): Its argument that takes the teacher's logits.
        student (dict): The number of outputs that each of the student's
            recorders sees, None where it is unknown.
        num_classes (int): The teacher's.

    Raises:
        ValueError: The student puts out another number.
    """
    record = mapping.get(STUDENT_LOGITS.get(argument, ''), {})
    recorder = record.get('recorder', '')
    found = student.get(recorder) if not record.get('connector') else None
    key = f'student_recorders.{recorder}'
    if recorder == 'skd_logits':
        key = 'logits'
    expected = f'{num_classes}, as the teacher has'
    valid = found in (None, num_classes)
    expect(valid, f'distiller.{key}: num_classes of the student', found, expected)


def check_simplifier(simplifier: Any, num_classes: int) -> None:
    """Tries a simplifier on random logits.

    Args:
        simplifier (nn.Module): The simplifier.
        num_classes (int): Number of classes.

    Raises:
        ValueError: It cannot be called, or gives something else than finite
            logits of the same shape.
    """
    key, name = 'distiller.simplifier', type(simplifier).__name__
    tau = getattr(simplifier, 'tau', None)
    expect(is_number(tau), f'{key}.tau', tau, f'a number as an attribute of {name}')
    with naming(key, name, f'a function of logits of shape (N, {num_classes})'):
        out = simplifier(torch.randn(4, num_classes))
    sound = isinstance(out, Tensor) and out.shape == (4, num_classes) and out.isfinite().all()
    expect(bool(sound), key, f'{name} with tau={tau}', 'that its outputs are finite logits')


def count_outputs(model: nn.Module, source: str) -> int | None:
    """The number of classes that a module puts out.

    Args:
        model (nn.Module): The model.
        source (str): Name of the module.

    Returns:
        int | None: The width of a linear layer or convolution, else what the
        model's head says, else None.
    """
    module = dict(model.named_modules()).get(source)
    head = getattr(model, 'head', None)
    for owner, name in ((module, 'out_features'), (module, 'out_channels'), (head, 'num_classes')):
        width = getattr(owner, name, None)
        if isinstance(width, int):
            return width
    return None
