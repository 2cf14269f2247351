"""Methods of RepDistiller."""

import copy
import re
import types
from pathlib import Path

import torch
from torch import nn

from .references import NUM_IMAGES, Batch, get_lr, import_from, make_networks, on_cpu_in_float64

# By method: names in its scripts.
REPDISTILLER = dict(kd='kd', fitnets='hint', at='attention', rkd='rkd', crd='crd')


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
