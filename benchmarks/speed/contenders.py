"""What is timed: a training step of KD, done in several ways on equal models.

Each contender is a function of a batch, as a data loader of mmengine gives it.
"""

import copy
import logging
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, LOOPS
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmpretrain.structures import DataSample
from mmrazor.registry import MODELS
from torch import Tensor, nn

from ..compatibility.walk import drop_validation, drop_weights

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
Step = Callable[[dict], Any]


@dataclass(frozen=True)
class Scenario:
    """A pair of networks at a size.

    Attributes:
        pair (str): What follows the method, such as ``kd_``, in the config's name.
        size (int): Height and width of the images.
        classes (int): Number of classes.
        batch (int): Images a step, on a CPU.
        gpu_batch (int): Images a step, on a GPU.
        eval_mode (bool): Whether the hook turns the teacher's drop path off, without
            which half precision and compilation would draw other numbers.
    """

    pair: str
    size: int
    classes: int
    batch: int
    gpu_batch: int
    eval_mode: bool = False


SCENARIOS = {
    'resnet': Scenario('resnet34_resnet18_imagenet', 224, 1000, 8, 128),
    'cifar': Scenario('resnet32x4_resnet8x4_240e_cifar100', 32, 100, 64, 64),
    'deit': Scenario('deit-base_deit-tiny_imagenet', 224, 1000, 4, 64, eval_mode=True),
}


# The parts of FrozenTeacherHook that change nothing but the time.
TEACHER_PARTS: dict[str, dict] = {
    'batch norm folded': dict(fold_bn=True),
    'no loss': dict(skip_loss=True),
    'channels_last': dict(channels_last=True),
    'bfloat16': dict(dtype='bfloat16'),
}


def frozen_teacher(parts: Iterable[dict]) -> dict:
    """FrozenTeacherHook with some of its parts, and no other.

    Args:
        parts (Iterable[dict]): Such as those of ``TEACHER_PARTS``.
    """
    hook = dict(type='mmrazor.FrozenTeacherHook', fold_bn=False, skip_loss=False)
    for part in parts:
        hook.update(part)
    return hook


def get_paying_parts(device: str) -> dict[str, dict]:
    """Those of ``TEACHER_PARTS`` that pay on a device, by name.

    Args:
        device (str): Where the teacher runs.
    """
    parts = dict(TEACHER_PARTS)
    if device == 'cpu' and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        # Without instructions for it a processor loses by bfloat16.
        del parts['bfloat16']
    return parts


def make_batch(scenario: Scenario, size: int) -> dict:
    """Random images with labels, collated."""
    images = torch.randint(256, (size, 3, scenario.size, scenario.size), dtype=torch.uint8)
    labels = torch.randint(scenario.classes, (size,))
    samples = [DataSample().set_gt_label(label) for label in labels]
    return dict(inputs=list(images), data_samples=samples)


def load(scenario: Scenario, method: str, amp: str = '') -> Config:
    """Reads a config and takes out the data, the weights and the schedule.

    Args:
        scenario (Scenario): The pair.
        method (str): ``'kd'``, ``'dkd'``, ``'skd_kd'`` or ``'skd_dkd'``.
        amp (str): ``'bfloat16'`` or ``'float16'`` for autocast. Defaults to ''.
    """
    (path,) = CONFIGS.rglob(f'{method}_{scenario.pair}.py')
    cfg = Config.fromfile(path)
    drop_weights(cfg.model)
    # The hand-written loop has neither of them.
    cfg.model.get('architecture', {}).pop('train_cfg', None)
    cfg.model.setdefault('data_preprocessor', cfg.get('data_preprocessor'))
    cfg.model.data_preprocessor.pop('batch_augments', None)
    if amp:
        cfg.optim_wrapper.update(type='AmpOptimWrapper', dtype=amp)
    return cfg


@DATASETS.register_module(force=True)
class _NoImages(BaseDataset):
    """Stands for data of a length; batches are given by hand."""

    def load_data_list(self) -> list[dict]:
        return [dict() for _ in range(1 << 16)]


@LOOPS.register_module(force=True)
class _SteppedLoop(EpochBasedTrainLoop):
    """Gets ready to train, and leaves the steps to the benchmark."""

    def run(self) -> nn.Module:
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        return self.runner.model


def make_runner(cfg: Config, hooks: tuple[dict, ...] = ()) -> Runner:
    """A runner that is ready to train, with all its hooks, logging included.

    It neither validates nor saves, and its learning rate stays.

    Args:
        cfg (Config): What to train.
        hooks (tuple[dict]): Further hooks.
    """
    cfg = copy.deepcopy(cfg)
    cfg.train_cfg = dict(type='mmengine._SteppedLoop', max_epochs=1)
    drop_validation(cfg)
    cfg.param_scheduler = None
    cfg.custom_hooks = [*cfg.get('custom_hooks', []), *hooks]
    cfg.default_hooks.pop('checkpoint', None)
    cfg.log_level = 'ERROR'
    cfg.work_dir = tempfile.mkdtemp()
    cfg.experiment_name = Path(cfg.work_dir).name
    runner = Runner.from_cfg(cfg)
    runner.train()
    logging.getLogger('mmengine').setLevel(logging.ERROR)
    return runner


def by_runner(cfg: Config, hooks: tuple[dict, ...] = ()) -> tuple[Step, Runner]:
    """The step of a runner.

    Args:
        cfg (Config): As of :func:`load`.
        hooks (tuple[dict]): Further hooks.
    """
    loader = dict(batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False))
    cfg = copy.deepcopy(cfg)
    cfg.train_dataloader = dict(loader, dataset=dict(type='mmengine._NoImages'))
    runner = make_runner(cfg, hooks)
    count = iter(range(1 << 30))
    return lambda batch: runner.train_loop.run_iter(next(count), batch), runner


def by_hand(cfg: Config, device: torch.device) -> tuple[Step, nn.Module]:
    """The floor: a loop in plain PyTorch, on the same models.

    Args:
        cfg (Config): As of :func:`load`.
        device (torch.device): Where it runs.

    Returns:
        tuple[Callable, nn.Module]: The step, and the algorithm that has the models.
    """
    algorithm = _build(cfg, device)
    student, teacher, prepare = _take_apart(algorithm)
    wrapper = build_optim_wrapper(student, cfg.optim_wrapper)
    tau, weight, cross_entropy = _get_weights(cfg)
    dtype = getattr(torch, cfg.optim_wrapper.get('dtype', 'float32'))

    def step(batch: dict) -> None:
        inputs, labels = prepare(batch)
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
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
        cfg (Config): As of :func:`load`.
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
