"""What a config of SKD can get wrong, found when it is built."""

from inspect import Parameter, signature
from typing import Any

import torch
from mmrazor.models.distillers import ConfigurableDistiller
from torch import Tensor, nn

from ...utils import expect, is_integer, is_number, naming
from .config_errors import PARTS

# What ``SKDDistiller`` adds to a config without a loss of logits.
ADDED_LOSS = 'loss_skd'
ADDED_RECORDER = 'skd_logits'
# What it logs beside the losses.
_LOGGED = ('teacher_entropy', 'simplified_entropy', 'agreement', 'lam')
# The argument by which a loss takes the student's logits, by the teacher's.
_STUDENT_LOGITS = {'preds_T': 'preds_S', 'logits_T': 'logits_S', 'teacher': 'student'}


def check_arguments(distiller: type, kwargs: dict[str, Any]) -> None:
    """Finds arguments that would be ignored, or fail without a word on where.

    Args:
        distiller (type): The class that they are for.
        kwargs (dict): The arguments of a ``ConfigurableDistiller``.

    Raises:
        ValueError: Names the argument, what it is and what it may be.
    """
    known = {
        name
        for base in distiller.__mro__
        for name, parameter in signature(base.__init__).parameters.items()  # type: ignore[misc]
        if parameter.kind is Parameter.POSITIONAL_OR_KEYWORD and name != 'self'
    }
    for name, value in kwargs.items():
        expect(name in known, f'distiller.{name}', value, f'one of the arguments {sorted(known)}')
    check_init_cfg('distiller.init_cfg', kwargs.get('init_cfg'))
    for part in PARTS:
        value = kwargs.get(part)
        expect(value is None or isinstance(value, dict), f'distiller.{part}', value, 'a dict')
    losses = kwargs.get('distill_losses') or {}
    mappings = kwargs.get('loss_forward_mappings') or {}
    for loss, cfg in losses.items():
        key = 'distiller.distill_losses'
        expect(loss not in _LOGGED, key, loss, 'another name: SKDDistiller logs by this one')
        expected = f'an entry in loss_forward_mappings too, which has {list(mappings)}'
        expect(loss in mappings, f'{key}.{loss}', cfg, expected)
    for loss, mapping in mappings.items():
        key = f'distiller.loss_forward_mappings.{loss}'
        expect(loss in losses, key, mapping, f'one of distill_losses: {list(losses)}')
        expect(isinstance(mapping, dict), key, mapping, 'a dict of arguments')
        for argument, record in mapping.items():
            _check_record(f'{key}.{argument}', record, kwargs)


def _check_record(key: str, record: Any, kwargs: dict[str, Any]) -> None:
    """Checks where an argument of a loss comes from."""
    expect(isinstance(record, dict), key, record, "a dict with a 'recorder'")
    known = list(signature(ConfigurableDistiller.get_record).parameters)[1:]
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
        if name == ADDED_RECORDER:
            key = 'distiller.logits'
        if type(recorder).__name__.startswith('Module'):
            expected = f'a module of the {side} {type(model).__name__}; its linear layers: {linear}'
            expect(isinstance(source, str) and source in modules, key, source, expected)
        else:
            with naming(key, source, 'a function, a method or a parameter that exists'):
                recorder.initialize(model)
                with recorder:
                    pass


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
    student = _STUDENT_LOGITS.get(argument)
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
    expect(added or logits == 'head.fc', 'distiller.logits', logits, expected)
    expect(added or logit_loss is None, 'distiller.logit_loss', logit_loss, expected)


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
    record = mapping.get(_STUDENT_LOGITS.get(argument, ''), {})
    recorder = record.get('recorder', '')
    found = student.get(recorder) if not record.get('connector') else None
    key = 'logits' if recorder == ADDED_RECORDER else f'student_recorders.{recorder}'
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
