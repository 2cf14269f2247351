"""What each of two processes reads, for ``test_in_memory_dataset.py``."""

import sys
from pathlib import Path

import torch
from mmengine.dist import get_rank, init_dist
from mmengine.registry import DefaultScope
from mmengine.runner import Runner, set_random_seed

import skd_mmrazor  # noqa: F401


def main():
    init_dist('pytorch', backend='gloo')
    set_random_seed(0, diff_rank_seed=True)
    dataset = dict(
        type='skd_mmrazor.Digits',
        indices=20,
        pipeline=[dict(type='RandomCrop', crop_size=8, padding=8), dict(type='PackInputs')],
    )
    cfg = dict(
        batch_size=4,
        num_workers=0,
        collate_fn=dict(type='torch.utils.data.default_convert'),
        dataset=dict(type='skd_mmrazor.InMemoryDataset', dataset=dataset),
        sampler=dict(type='DefaultSampler', shuffle=True),
    )
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        loader = Runner.build_dataloader(cfg, seed=3)
    numbers = []
    for epoch in (0, 1):
        loader.sampler.set_epoch(epoch)
        samples = [sample for batch in loader for sample in batch['data_samples']]
        numbers.append([sample.sample_idx for sample in samples])
    # Of one image: where it is cropped is all that differs.
    drawn = loader.dataset.__getitems__([0] * 16)['inputs'].tolist()
    torch.save(dict(numbers=numbers, drawn=drawn), Path(sys.argv[1], f'{get_rank()}.pth'))


if __name__ == '__main__':
    main()
