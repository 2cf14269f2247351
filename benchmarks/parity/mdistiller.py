"""Methods of mdistiller, and OFD's own loss on its networks."""

import copy
from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import ConfigDict
from torch import Tensor, nn

from .cifar_networks import REFERENCE_NAMES
from .references import (
    NUM_IMAGES,
    Batch,
    get_arch,
    get_lr,
    import_from,
    make_networks,
    on_cpu_in_float64,
)

# By method: names in mdistiller's configs and code.
MDISTILLER = dict(
    kd=('kd', 'KD'),
    dkd=('dkd', 'DKD'),
    fitnets=('fitnet', 'FITNET'),
    at=('at', 'AT'),
    rkd=('rkd', 'RKD'),
    crd=('crd', 'CRD'),
    ofd=('ofd', 'OFD'),
)


class MDistiller:
    """A method of mdistiller, with its settings and its trainer.

    Args:
        checkout (Path): The repository.
        method (str): One of ``MDISTILLER``.
        pair (str): The networks, as in the names of configs.
    """

    def __init__(self, checkout: Path, method: str, pair: str) -> None:
        names = ['models', 'distillers', 'engine', 'engine.cfg', 'engine.utils']
        found = import_from(checkout, [f'mdistiller.{name}' for name in names])
        models, distillers, engine, settings, utils = found
        config, kind = MDISTILLER[method]
        cfg = copy.deepcopy(settings.CFG)
        self._read(cfg, checkout / 'configs' / 'cifar100' / config, models.cifar_model_dict, pair)
        cfg.SOLVER.LR = get_lr(pair)
        self.student, self.teacher = make_networks(models.cifar_model_dict, pair)
        arguments = (NUM_IMAGES,) if method == 'crd' else ()
        with on_cpu_in_float64():
            make = distillers.distiller_dict[kind]
            self.distiller = make(self.student, self.teacher, cfg, *arguments)
        trainer = engine.trainer_dict[cfg.SOLVER.TRAINER]
        self.trainer = trainer.__new__(trainer)  # Without its folder of logs.
        with on_cpu_in_float64():
            self.trainer.distiller = nn.DataParallel(self.distiller)
        self.trainer.optimizer = self.trainer.init_optimizer(cfg)
        self.meters = defaultdict(utils.AverageMeter)
        self.method = method

    @staticmethod
    def _read(cfg: ConfigDict, path: Path, models: dict, pair: str) -> None:
        """Merges the file of a pair; of its teacher, where it has none; or the method's."""
        files = sorted(path.glob('*.yaml')) if path.is_dir() else [path.with_suffix('.yaml')]
        teacher, student = (REFERENCE_NAMES.get(get_arch(n), get_arch(n)) for n in pair.split('_'))
        found = [yaml.safe_load(file.read_text()) for file in files]
        found.sort(
            key=lambda content: (
                content['DISTILLER']['TEACHER'] == teacher,
                content['DISTILLER']['STUDENT'] == student,
            )
        )

        def merge(into: ConfigDict, other: dict) -> None:
            for key, value in other.items():
                merge(into[key], value) if isinstance(value, dict) else into.update({key: value})

        merge(cfg, found[-1])

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The modules beside the networks, by the names of our connectors and losses."""
        if self.method == 'fitnets':
            return dict(regressor=self.distiller.conv_reg)
        if self.method == 'ofd':
            return {f'student{i}': c for i, c in enumerate(self.distiller.connectors.connectors, 1)}
        if self.method == 'crd':
            names = dict(student='embed_s', teacher='embed_t', loss_crd='contrast')
            return {ours: getattr(self.distiller, theirs) for ours, theirs in names.items()}
        return {}

    def double(self) -> None:
        """Computes in float64 from here on."""
        self.distiller.double()

    def _name(self, batch: Batch) -> dict[str, Any]:
        image, target, index, contrastive_index = batch
        named = dict(image=image, target=target, epoch=1)
        crd = dict(index=index, contrastive_index=contrastive_index)
        return named | crd if self.method == 'crd' else named

    def compute(self, batch: Batch) -> tuple[float, float]:
        """The terms of the labels and of the distillation, weighted, in the first epoch."""
        with on_cpu_in_float64():
            _, losses = self.distiller.train()(**self._name(batch))
        return losses['loss_ce'].item(), losses['loss_kd'].item()

    def step(self, batch: Batch) -> None:
        """Makes a step of its trainer."""
        with on_cpu_in_float64():
            self.distiller.train()
            self.trainer.train_iter(batch if self.method == 'crd' else batch[:3], 1, self.meters)


class Overhaul(MDistiller):
    """The loss of OFD's own code, on mdistiller's networks, since its networks differ.

    Args:
        checkout (Path): The repository of OFD.
        mdistiller (Path): That of mdistiller.
        pair (str): The networks, as in the names of configs.
    """

    def __init__(self, checkout: Path, mdistiller: Path, pair: str) -> None:
        super().__init__(mdistiller, 'ofd', pair)
        (distiller,) = import_from(checkout / 'CIFAR-100', ['distiller'])
        networks = [_Features(network) for network in (self.teacher, self.student)]
        self.overhaul = distiller.Distiller(*networks)
        for mine, theirs in zip(self.overhaul.Connectors, self.modules.values(), strict=True):
            mine.load_state_dict(theirs.state_dict())

    def double(self) -> None:
        """Computes in float64 from here on."""
        super().double()
        self.overhaul.double()

    def compute(self, batch: Batch) -> tuple[float, float]:
        """The terms of the labels and of the distillation, divided as its script does."""
        images, labels, *_ = batch
        with on_cpu_in_float64():
            logits, term = self.overhaul.train()(images)
        return nn.functional.cross_entropy(logits, labels).item(), term.item() / len(images) / 1000


class _Features(nn.Module):
    """A network of mdistiller with the methods that OFD's code asks for."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def get_channel_num(self) -> list[int]:
        return self.network.get_stage_channels()[1:]

    def get_bn_before_relu(self) -> list[nn.Module]:
        return self.network.get_bn_before_relu()

    def extract_feature(self, images: Tensor, preReLU: bool) -> tuple[list[Tensor], Tensor]:
        logits, features = self.network(images)
        return features['preact_feats'][1:], logits
