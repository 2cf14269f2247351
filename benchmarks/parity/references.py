"""Methods of the reference codes, run by their own loops, from checkouts that the user names."""

import contextlib
import copy
import importlib
import io
import re
import sys
import types
import warnings
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import yaml
from mmengine.config import ConfigDict
from torch import Tensor, nn

from .cifar_networks import REFERENCE_NAMES, randomise

# By method: names in mdistiller's configs and code, and in RepDistiller's scripts.
MDISTILLER = dict(
    kd=('kd', 'KD'),
    dkd=('dkd', 'DKD'),
    fitnets=('fitnet', 'FITNET'),
    at=('at', 'AT'),
    rkd=('rkd', 'RKD'),
    crd=('crd', 'CRD'),
    ofd=('ofd', 'OFD'),
)
REPDISTILLER = dict(kd='kd', fitnets='hint', at='attention', rkd='rkd', crd='crd')
NUM_IMAGES = 50_000
Batch = tuple[Tensor, Tensor, Tensor, Tensor]  # images, labels, indices, those of negatives


def get_arch(name: str) -> str:
    """A network by its name in ``cifar100_networks.py``, from that in a config's name."""
    return name.replace('-', '_' if name.startswith('wrn') else '')


@contextlib.contextmanager
def on_cpu_in_float64() -> Iterator[None]:
    """Runs code that moves tensors to a GPU and to float32 as if it did neither."""

    def as_float(tensor: Tensor) -> Tensor:
        return tensor if tensor.is_floating_point() else tensor.double()

    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        mock.patch.object(Tensor, 'cuda', lambda tensor, *args, **kwargs: tensor),
        mock.patch.object(Tensor, 'float', as_float),
        mock.patch('torch.cuda.is_available', return_value=False),
    ):
        warnings.simplefilter('ignore')
        yield


def import_from(checkout: Path, names: list[str]) -> list[Any]:
    """Imports modules of a checkout, without what it requires and we do not run.

    Args:
        checkout (Path): The repository.
        names (list[str]): The modules.

    Raises:
        SystemExit: The checkout has no such module.
    """
    stubs = {
        'yacs.config': types.SimpleNamespace(CfgNode=ConfigDict),
        'tensorboardX': mock.MagicMock(),
        'mdistiller.engine.dot': mock.MagicMock(),  # An optimizer for an older torch.
    }
    sys.path.insert(0, str(checkout))
    try:
        with mock.patch.dict(sys.modules):
            sys.modules.update(stubs)
            return [importlib.import_module(name) for name in names]
    except ModuleNotFoundError as error:
        raise SystemExit(f'{str(checkout)!r}: expected a checkout with {names}. {error}') from error
    finally:
        sys.path.remove(str(checkout))


def make_networks(models: dict[str, Any], pair: str) -> list[nn.Module]:
    """An initial student, and a teacher with norm layers as if trained.

    Their statistics are those of random images, as in training: with others the logits
    are so large that rounding errors grow a thousandfold in a few steps.
    """
    found = []
    for name in reversed(pair.split('_')):
        arch = REFERENCE_NAMES.get(get_arch(name), get_arch(name))
        make = models[arch]
        # mdistiller also has the path of a checkpoint here.
        make = make[0] if isinstance(make, tuple) else make
        with on_cpu_in_float64():
            found.append(make(num_classes=100))
    student, teacher = found
    norms = [m for m in randomise(teacher).modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # The mean of all batches.
    with torch.no_grad():
        for _ in range(4):
            teacher.train()(torch.randn(32, 3, 32, 32))
    for norm in norms:
        norm.momentum = 0.1
    return [student, teacher]


def get_lr(pair: str) -> float:
    """The learning rate by student, as RepDistiller has it in ``train_student.py``."""
    return 0.01 if pair.split('_')[1].startswith(('mobilenet', 'shufflenet')) else 0.05


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


class RepDistiller:
    """A method of RepDistiller, with the weights of its script and its loop.

    Args:
        checkout (Path): The repository.
        method (str): One of ``REPDISTILLER``, or with ``-kd`` behind it.
        pair (str): The networks, as in the names of configs.
    """

    def __init__(self, checkout: Path, method: str, pair: str) -> None:
        names = ['models', 'models.util', 'distiller_zoo', 'crd.criterion', 'helper.loops']
        models, util, zoo, crd, self.loops = import_from(checkout, names)
        self.student, self.teacher = make_networks(models.model_dict, pair)
        self.method = method
        kind = REPDISTILLER[method.removesuffix('-kd')]
        self.opt = self._read(checkout, kind)
        if method.endswith('-kd'):
            self.opt.alpha = 1.0
        images = torch.randn(2, 3, 32, 32)
        features = [
            network.eval()(images, is_feat=True)[0] for network in (self.student, self.teacher)
        ]
        layer, last = self.opt.hint_layer, [feature[-1].shape[1] for feature in features]
        settings = types.SimpleNamespace(
            **dict(zip(('s_dim', 't_dim'), last, strict=True)),
            **dict(feat_dim=128, nce_k=16384, nce_t=0.07, nce_m=0.5, n_data=NUM_IMAGES),
        )
        make = dict(
            kd=lambda: zoo.DistillKL(4),
            hint=zoo.HintLoss,
            attention=zoo.Attention,
            rkd=zoo.RKDLoss,
            crd=lambda: crd.CRDLoss(settings),
        )
        with on_cpu_in_float64():
            loss = make[kind]()
            self.modules: dict[str, nn.Module] = {}
            trained = []
            if kind == 'hint':
                self.modules['regressor'] = util.ConvReg(*(f[layer].shape for f in features))
                trained = [self.modules['regressor']]
            if kind == 'crd':
                self.modules = dict(
                    student=loss.embed_s, teacher=loss.embed_t, loss_crd=loss.contrast
                )
                trained = [loss.embed_s, loss.embed_t]
        self.criteria = nn.ModuleList([nn.CrossEntropyLoss(), zoo.DistillKL(4), loss])
        self.trained = nn.ModuleList([self.student, *trained])
        self.all = nn.ModuleList([*self.trained, self.teacher])
        settings = dict(lr=get_lr(pair), momentum=0.9, weight_decay=5e-4)
        self.optimizer = torch.optim.SGD(self.trained.parameters(), **settings)

    @staticmethod
    def _read(checkout: Path, kind: str) -> types.SimpleNamespace:
        """The weights in the script: -r of the labels, -a of KD, -b of the method."""
        script = (checkout / 'scripts' / 'run_cifar_distill.sh').read_text()
        (line, *_) = re.findall(rf'--distill {kind} .*', script)
        found = {flag: float(value) for flag, value in re.findall(r'-([rab]) (\S+)', line)}
        names = dict(gamma=found.get('r', 1.0), alpha=found['a'], beta=found['b'])
        return types.SimpleNamespace(distill=kind, hint_layer=2, print_freq=1, **names)

    def double(self) -> None:
        """Computes in float64 from here on."""
        self.all.double()
        self.criteria.double()

    def _run(self, batch: Batch, optimizer: torch.optim.Optimizer, **weights: float) -> float:
        opt = types.SimpleNamespace(**{**vars(self.opt), **weights})
        data = batch if self.opt.distill == 'crd' else batch[:3]
        arguments = (1, [data], self.all, self.criteria, optimizer, opt)
        with on_cpu_in_float64():
            return self.loops.train_distill(*arguments)[1]

    def compute(self, batch: Batch) -> tuple[float, float]:
        """The terms of the labels and of the distillation, weighted: two passes of its loop."""
        still = torch.optim.SGD(self.trained.parameters(), lr=0)
        state = copy.deepcopy([self.all.state_dict(), self.criteria.state_dict()])
        labels = self._run(batch, still, alpha=0, beta=0)
        self.all.load_state_dict(state[0])
        self.criteria.load_state_dict(state[1])
        return labels, self._run(batch, still, gamma=0)

    def step(self, batch: Batch) -> None:
        """Makes a step of its loop."""
        self._run(batch, self.optimizer)


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
