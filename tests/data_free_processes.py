"""Trains a data-free config with SKD, for ``test_mmrazor_configs.py``; run by torchrun."""

import os
import sys
from pathlib import Path

import torch

from benchmarks.compatibility.run_configs import load, make_data, train


def main():
    name, folder = sys.argv[1], Path(sys.argv[2])
    rank = os.environ['RANK']
    cfg = load(name, make_data(folder / f'data{rank}'), skd=True)
    cfg.work_dir = str(folder / 'work')
    cfg.experiment_name = 'two'
    cfg.launcher = 'pytorch'
    cfg.randomness = dict(seed=0, diff_rank_seed=True)
    runner = train(cfg)
    torch.save(runner.model.module.distiller.simplifier.state_dict(), folder / f'{rank}.pth')


if __name__ == '__main__':
    main()
