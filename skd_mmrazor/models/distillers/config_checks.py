"""What a config of SKD can get wrong, found when it is built."""

from typing import Any

from torch import nn

from ...utils import expect, is_number


def check_recorder_names(kwargs: dict[str, Any]) -> None:
    """Finds a mapping to a recorder that the config does not define.

    Args:
        kwargs (dict): The arguments of a ``ConfigurableDistiller``.

    Raises:
        ValueError: Names the mapping, the recorder and those defined.
    """
    for loss, mapping in (kwargs.get('loss_forward_mappings') or {}).items():
        for argument, record in mapping.items():
            key = f'distiller.loss_forward_mappings.{loss}.{argument}'
            expect(isinstance(record, dict), key, record, "a dict with a 'recorder'")
            side = 'student' if record.get('from_student') else 'teacher'
            known = list(kwargs.get(f'{side}_recorders') or {})
            name = record.get('recorder')
            expect(name in known, f'{key}.recorder', name, f'one of {side}_recorders: {known}')


def check_recorder_sources(side: str, recorders: dict[str, Any], model: nn.Module) -> None:
    """Finds a recorder on a module that the model does not have.

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
        # The other recorders look for functions, methods and parameters.
        if type(recorder).__name__.startswith('Module'):
            key = f'distiller.{side}_recorders.{name}.source'
            expected = f'a module of the {side} {type(model).__name__}; its linear layers: {linear}'
            expect(recorder.source in modules, key, recorder.source, expected)


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
    known = f'an argument of that loss: {list(mappings[loss])}'
    expect(argument in mappings[loss], f'distiller.simplify.{loss}', argument, known)
    from_student = mappings[loss][argument].get('from_student')
    key = f'distiller.loss_forward_mappings.{loss}.{argument}.from_student'
    expect(from_student is False, key, from_student, "False: the teacher's logits, recorded")


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
        ValueError: They differ, so the simplifier has to be told one.
    """
    taus: dict[str, Any] = {name: loss.tau for name, loss in losses.items() if hasattr(loss, 'tau')}
    agree = len(set(taus.values())) <= 1
    expect(agree, 'distiller.simplifier.tau', None, f'a number, since the losses have {taus}')
    return next(iter(taus.values()), 1.0)


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
