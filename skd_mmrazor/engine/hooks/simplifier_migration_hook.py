"""A run without SKD can continue with it, and the other way round."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from mmrazor.registry import HOOKS
from torch import nn

from ...utils import expect
from ..utils import get_model

_SIMPLIFIER = 'distiller.simplifier.'


@HOOKS.register_module()
class SimplifierMigrationHook(Hook):
    """Adds a simplifier to a checkpoint that has none, or removes it.

    Acts where a distillation model and the checkpoint that is loaded into it
    differ in having a simplifier, and logs one line that says so. A simplifier
    that the checkpoint lacks keeps its initial weights; one that the model lacks
    is ignored.

    When resuming, the optimizer's state is matched to the parameters by name:
    the student keeps its momentum, the simplifier starts with none. The groups
    of parameters are those of the config; their ``lr`` (and whatever else is
    scheduled) continues where the checkpoint's schedule stood.

    With :mod:`skd_mmrazor.safeguards`, as in this project's tools, the runner of a
    distillation gets this hook by itself.
    """

    # After EMAHook, which swaps its average for the weights.
    priority = 'LOW'

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Fits the checkpoint to the model.

        Args:
            runner (Runner): The runner of the training, validation or test
                process.
            checkpoint (dict): What was loaded. Changed in place.

        Raises:
            ValueError: The parameters of the checkpoint's optimizer are not those
                of its model.
        """
        model = get_model(runner)
        weights = checkpoint.get('state_dict', checkpoint)
        # mmengine takes DDP's prefix off afterwards.
        names = {name.removeprefix('module.'): name for name in weights}
        own = model.state_dict()
        missing = {k: v for k, v in own.items() if k.startswith(_SIMPLIFIER)}
        unused = [name for k, name in names.items() if k.startswith(_SIMPLIFIER)]
        if bool(missing) == bool(unused) or not hasattr(model, 'distiller'):
            return
        # With a simplifier added, a checkpoint of which nothing fits would seem to fit.
        if not any(getattr(weights.get(names.get(k)), 'shape', None) == own[k].shape for k in own):
            return
        optimizer = checkpoint.get('optimizer')
        if runner._resume and optimizer and isinstance(runner.optim_wrapper, OptimWrapper):
            # Integers, such as counts of steps, have no gradient: they are buffers.
            trained = [k for k, name in names.items() if weights[name].is_floating_point()]
            _match_optimizer(optimizer, trained, model, runner.optim_wrapper)
            for saved, built in zip(
                checkpoint.get('param_schedulers', ()), runner.param_schedulers or (), strict=False
            ):
                saved['base_values'] = built.base_values
        weights.update(missing)
        for name in unused:
            del weights[name]
        runner.logger.info(
            'The checkpoint has no simplifier: it starts from its initial weights.'
            if missing
            else 'The checkpoint has a simplifier, the model has none: its weights are ignored.'
        )


def _match_optimizer(
    state: dict, saved: list[str], model: nn.Module, optim_wrapper: OptimWrapper
) -> None:
    """Rewrites the state of an optimizer for the parameters of another.

    Args:
        state (dict): State of the ``OptimWrapper`` in the checkpoint. Changed in
            place.
        saved (list[str]): Names of the checkpoint's weights of floating-point numbers,
            in its order.
        model (nn.Module): The model that is resumed.
        optim_wrapper (OptimWrapper): Its optimizer, which has not stepped yet.
    """
    parameters = dict(model.named_parameters())
    saved = [name for name in saved if name in parameters or name.startswith(_SIMPLIFIER)]
    groups = {index: group for group in state['param_groups'] for index in group['params']}
    if len(groups) != len(saved):
        # With paramwise_cfg mmengine leaves the frozen parameters out.
        saved = [n for n in saved if n not in parameters or parameters[n].requires_grad]
    expected = f'the {len(saved)} of its model; use load_from without resume'
    expect(len(groups) == len(saved), 'parameters of the optimizer', len(groups), expected)
    old = dict(zip(saved, groups, strict=True))

    names = {id(parameter): name for name, parameter in parameters.items()}
    optimizer = optim_wrapper.optimizer
    new = [names[id(p)] for group in optimizer.param_groups for p in group['params']]
    base = state.pop('base_param_settings', None) or state['param_groups'][0]
    moments = state['state']
    state.update(optimizer.state_dict())
    state['state'] = {i: moments[old[n]] for i, n in enumerate(new) if old.get(n) in moments}
    for group in state['param_groups']:
        shared = [groups[old[new[i]]] for i in group['params'] if new[i] in old]
        _continue_schedule(group, shared[0] if shared else base)
    # With several groups, mmengine keeps the schedule without multipliers here.
    if optim_wrapper.base_param_settings is not None:
        state['base_param_settings'] = dict(optim_wrapper.base_param_settings)
        _continue_schedule(state['base_param_settings'], base)


def _continue_schedule(group: dict[str, Any], old: dict[str, Any]) -> None:
    for key, value in old.items():
        start, old_start = group.get(f'initial_{key}'), old.get(f'initial_{key}')
        if start is not None and old_start:
            group[key] = value if start == old_start else start * (value / old_start)
