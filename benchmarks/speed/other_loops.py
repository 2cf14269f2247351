"""The same step of KD without a runner: by hand, and by ``torchdistill``."""

import copy
import logging
from collections.abc import Callable

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmrazor.registry import MODELS
from torch import Tensor, nn

from .runners import Step


def by_hand(cfg: Config, device: torch.device, stored: bool = False) -> tuple[Step, nn.Module]:
    """The lower bound: a loop in plain PyTorch, on the same models.

    Args:
        cfg (Config): The config, from :func:`load`.
        device (torch.device): Where it runs.
        stored (bool): Whether a fixed tensor replaces the teacher's logits, and the
            teacher is deleted. Defaults to False.

    Returns:
        tuple[Callable, nn.Module]: The step, and the algorithm that has the models.
    """
    algorithm = _build(cfg, device)
    student, teacher, prepare = _take_apart(algorithm)
    wrapper = build_optim_wrapper(student, cfg.optim_wrapper)
    tau, weight, cross_entropy = _get_weights(cfg)
    dtype = getattr(torch, cfg.optim_wrapper.get('dtype', 'float32'))
    if stored:
        # Else the teacher's weights would count in the peak memory.
        del teacher, algorithm.teacher
        fixed = torch.randn(1, algorithm.architecture.head.num_classes, device=device)

    def step(batch: dict) -> None:
        inputs, labels = prepare(batch)
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            if stored:
                target = fixed.expand(len(inputs), -1)
            else:
                with torch.no_grad():
                    target = teacher(inputs)
            logits = student(inputs)
            soft = F.kl_div(
                F.log_softmax(logits / tau, dim=1),
                F.softmax(target / tau, dim=1),
                reduction='batchmean',
            )
            loss = cross_entropy * F.cross_entropy(logits, labels) + weight * tau**2 * soft
        wrapper.update_params(loss)

    return step, algorithm


def by_torchdistill(cfg: Config, device: torch.device) -> tuple[Step, nn.Module]:
    """The same KD by ``torchdistill`` from PyPI, in float32.

    Args:
        cfg (Config): The config, from :func:`load`.
        device (torch.device): Where it runs.

    Returns:
        tuple[Callable, nn.Module]: The step, and the algorithm that has the models.
    """
    from torchdistill.common.constant import def_logger
    from torchdistill.core.distillation import DistillationBox

    def_logger.setLevel(logging.ERROR)
    algorithm = _build(cfg, device)
    student, teacher, prepare = _take_apart(algorithm)
    tau, weight, cross_entropy = _get_weights(cfg)
    optimizer = dict(cfg.optim_wrapper.optimizer)
    kind = optimizer.pop('type')
    optimizer.pop('_scope_', None)
    kd = dict(
        key='KDLoss',
        kwargs=dict(
            student_module_path='.',
            student_module_io='output',
            teacher_module_path='.',
            teacher_module_io='output',
            temperature=tau,
            alpha=cross_entropy,
            beta=weight,
        ),
    )
    box = DistillationBox(
        teacher,
        student,
        {},
        dict(
            num_epochs=1,
            teacher=dict(requires_grad=False, forward_proc='forward_batch_only'),
            student=dict(forward_proc='forward_batch_only'),
            optimizer=dict(key=kind, kwargs=optimizer),
            criterion=dict(
                key='WeightedSumLoss',
                kwargs=dict(sub_terms=dict(kd=dict(criterion=kd, weight=1.0))),
            ),
        ),
        device,
        None,
        False,
        1,
    )

    def step(batch: dict) -> None:
        box.post_forward_process(box.forward_process(*prepare(batch)))

    return step, algorithm


class _Logits(nn.Module):
    """An mmpretrain classifier as a function from images to logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        return self.model(inputs, mode='tensor')


def _build(cfg: Config, device: torch.device) -> nn.Module:
    algorithm = MODELS.build(copy.deepcopy(cfg.model)).to(device)
    algorithm.init_weights()
    return algorithm


def _take_apart(algorithm: nn.Module) -> tuple[nn.Module, nn.Module, Callable]:
    def prepare(batch: dict) -> tuple[Tensor, Tensor]:
        data = algorithm.data_preprocessor(batch, training=True)
        labels = torch.cat([sample.gt_label for sample in data['data_samples']])
        return data['inputs'], labels

    return _Logits(algorithm.architecture).train(), _Logits(algorithm.teacher).eval(), prepare


def _get_weights(cfg: Config) -> tuple[float, float, float]:
    loss = cfg.model.distiller.distill_losses.loss_kl
    head = cfg.model.architecture.get('head', {})
    cross_entropy = head.get('loss', {}).get('loss_weight', 1.0)
    return loss.tau, loss.get('loss_weight', 1.0), cross_entropy
