r"""Error and size of compact stores of logits, by the number of classes kept.

Example:
    python -m benchmarks.speed.stored_error
    python -m benchmarks.speed.stored_error \
        --teacher work_dirs/resnet14-w16_60e_digits/epoch_60.pth

The error is the mean KL divergence, in nats, from the full logits in float32 to those
that are read. It is measured for ``--teacher`` over the training images of its config,
and for synthetic logits of 1,000 classes: normal with standard deviation 2, plus 12 for
the label.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner, load_checkpoint, set_random_seed
from mmpretrain.registry import MODELS

import skd_mmrazor  # noqa: F401
from skd_mmrazor.datasets.logit_store import LogitStore
from skd_mmrazor.utils.command_line import make_parser
from skd_mmrazor.utils.progress import track

DIGITS = 'configs/digits/resnet14-w16_60e_digits.py'
KEPT = {10: (1, 2, 3, 5, 8), 100: (5, 10, 20, 50), 1000: (10, 20, 50, 100, 200)}
TAUS = (1, 4)


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('--config', default=DIGITS, help='of the teacher, by itself')
    parser.add_argument('--teacher', type=Path, help='its checkpoint')
    return parser.parse_args()


@torch.no_grad()
def get_logits(config: str, checkpoint: str) -> np.ndarray:
    """A teacher's logits of its training images.

    Args:
        config (str): The config of the teacher by itself.
        checkpoint (str): Its weights.

    Returns:
        ndarray: float32 of shape (N, classes).
    """
    set_random_seed(0)
    cfg = Config.fromfile(config)
    init_default_scope('mmpretrain')
    cfg.model.setdefault('data_preprocessor', cfg.get('data_preprocessor'))
    model = MODELS.build(cfg.model).eval()
    load_checkpoint(model, checkpoint, map_location='cpu')
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    batches = (model.data_preprocessor(batch)['inputs'] for batch in loader)
    return torch.cat([model(inputs, mode='tensor') for inputs in batches]).numpy()


def make_logits(samples: int = 2000, classes: int = 1000) -> np.ndarray:
    """Synthetic logits of many classes, float32 of shape (samples, classes)."""
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (samples, classes)).astype(np.float32)
    logits[np.arange(samples), generator.integers(classes, size=samples)] += 12
    return logits


def measure(logits: np.ndarray, dtype: str, top_k: int | None, tau: float) -> tuple[float, int]:
    """Error and size of a form of the store.

    Args:
        logits (ndarray): float32 of shape (N, classes).
        dtype (str): ``'float32'`` or ``'float16'``.
        top_k (int, optional): How many are kept.
        tau (float): The temperature of a loss.

    Returns:
        tuple[float, int]: Mean KL divergence at ``tau``, and bytes of a row.
    """
    samples, classes = logits.shape
    header = dict(samples=samples, classes=classes, dtype=dtype, top_k=top_k)
    with tempfile.TemporaryDirectory() as folder:
        store = LogitStore(f'{folder}/store', header)
        found = store.decode(store.encode(logits))
    ours, theirs = (
        torch.from_numpy(values).double().div(tau).log_softmax(1) for values in (found, logits)
    )
    error = (theirs.exp() * (theirs - ours)).sum(1).mean()
    return error.item(), store.dtype.itemsize


def to_markdown(logits: np.ndarray) -> str:
    """The table over forms of the store.

    Args:
        logits (ndarray): float32 of shape (N, classes).
    """
    classes = logits.shape[1]
    forms = [('float32', None), ('float16', None), *(('float16', k) for k in KEPT[classes][::-1])]
    heads = ' | '.join(f'KL at tau {tau}' for tau in TAUS)
    lines = [f'| dtype | top_k | bytes an image | {heads} |', '|---' * (3 + len(TAUS)) + '|']
    for dtype, top_k in track(forms, f'{classes} classes'):
        found = [measure(logits, dtype, top_k, tau) for tau in TAUS]
        errors = ' | '.join(f'{error:.1e}' for error, _ in found)
        lines.append(f'| {dtype} | {top_k or "all"} | {found[0][1]} | {errors} |')
    return '\n'.join(lines)


def main() -> None:
    """Prints a table for each teacher."""
    args = parse_args()
    if args.teacher:
        print(f'\n{args.config}\n\n{to_markdown(get_logits(args.config, str(args.teacher)))}')
    print(f'\nmade-up logits, 1,000 classes\n\n{to_markdown(make_logits())}')


if __name__ == '__main__':
    main()
