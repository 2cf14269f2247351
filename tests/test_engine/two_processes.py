"""What two processes compute, for ``test_two_processes.py``: one launch for all.

Run by torchrun; every process saves what its checks return.
"""

import sys
from pathlib import Path

import torch
from mmengine.dist import barrier, get_rank, init_dist
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from mmengine.runner import FlexibleRunner, Runner
from mmrazor.registry import MODELS
from packaging.version import Version

from skd_mmrazor.engine import StoredTeacherHook

from ..conftest import algorithm, batch, distiller
from .runs import loader, logged, run_config, student, teacher, train, weights

STRONG = dict(type='AttentionSimplifierConnector', learn_lam=False, max_lam=0.5, start_factor=1)
STEPS = 3
FSDP_ON_CPU = Version(torch.__version__) >= Version('2.1')


def distillers():
    """Name and config of every distiller that is trained in two processes."""
    kl = {'loss_kl': dict(type='KLDivergence', tau=4)}
    several = {
        **kl,
        'loss_dkd': dict(type='LogSpaceDKDLoss', tau=4),
        'loss_dist': dict(type='DISTLoss', tau=4),
    }
    neck = dict(type='ModuleOutputs', source='neck')
    rkd = {
        argument: dict(recorder='neck', from_student=ours, data_idx=0)
        for argument, ours in (('preds_S', True), ('preds_T', False))
    }
    return {
        'samples': distiller(kl, simplifier=STRONG),
        'classes': distiller(kl, simplifier=dict(STRONG, attend_over='classes')),
        'learned': distiller(kl),
        'zero': distiller(kl, simplifier=dict(STRONG, max_lam=0)),
        'several losses': distiller(several),
        'features only': dict(
            type='SKDDistiller',
            simplifier=dict(type='AttentionSimplifierConnector'),
            student_recorders=dict(neck=neck),
            teacher_recorders=dict(neck=dict(neck)),
            distill_losses=dict(loss_rkd=dict(type='DistanceWiseRKD', with_l2_norm=True)),
            loss_forward_mappings=dict(loss_rkd=rkd),
        ),
    }


def build(name):
    """A float64 model, the same in every process and in every test."""
    torch.manual_seed(1)
    cfg = algorithm(distillers()[name], architecture=student(), teacher=teacher())
    model = MODELS.build(cfg)
    model.init_weights()
    model.double()
    model.train()
    return model


def batches(parts):
    """For every step a batch of 8, in equal parts."""
    torch.manual_seed(2)
    for _ in range(STEPS):
        inputs, samples = batch(8, dtype=torch.float64)
        size = 8 // parts
        yield [(inputs[i : i + size], samples[i : i + size]) for i in range(0, 8, size)]


def optimizer(model, **arguments):
    return build_optim_wrapper(model, dict(optimizer=dict(type='SGD', lr=0.1), **arguments))


def total(losses):
    return sum(value for key, value in losses.items() if 'loss' in key)


def train_in_two(name, accumulative_counts=1):
    """Trains on this process's part of every batch, as the Runner would."""
    model = MMDistributedDataParallel(build(name), device_ids=[0], broadcast_buffers=False)
    optim_wrapper = optimizer(model, accumulative_counts=accumulative_counts)
    optim_wrapper.initialize_count_status(model, 0, STEPS * accumulative_counts)
    for parts in batches(2 * accumulative_counts):
        for inputs, samples in parts[get_rank() :: 2]:
            with optim_wrapper.optim_context(model):
                losses = model(inputs, samples, mode='loss')
            optim_wrapper.update_params(total(losses))
    return weights(model)


def stop_distillation(work_dir, find_unused_parameters):
    """After half of the run, which leaves the simplifier unused."""
    runner = train(
        work_dir,
        launcher='pytorch',
        find_unused_parameters=find_unused_parameters,
        train_cfg=dict(by_epoch=True, max_epochs=4),
        custom_hooks=[
            dict(type='mmrazor.StopDistillHook', stop_epoch=2),
            dict(type='EMAHook', momentum=0.3),
        ],
    )
    return dict(weights=weights(runner.model), losses=logged(runner, 'loss'))


def train_by_strategy(work_dir, **strategy):
    runner = train(
        work_dir,
        FlexibleRunner,
        launcher='pytorch',
        env_cfg=dict(dist_cfg=dict(backend='nccl')),
        strategy=strategy,
    )
    keys = ('student.loss', 'distill.loss_kl', 'distill.lam', 'distill.simplified_entropy')
    return {key: logged(runner, key) for key in keys}


def train_from_store(work_dir, store, offload):
    """For two epochs, in each of which a process has half of the images."""
    hook = CountingHook(str(store), offload=offload)
    runner = Runner.from_cfg(
        run_config(
            work_dir,
            launcher='pytorch',
            train_cfg=dict(by_epoch=True, max_epochs=2),
            train_dataloader=dict(
                loader('train', 32, 8), sampler=dict(type='DefaultSampler', shuffle=True)
            ),
        )
    )
    runner.register_hook(hook)
    runner.train()
    barrier()  # The other process may still be writing.
    stored = all(hook.store.get_stored(view).all() for view in (0, 1))
    return dict(weights=weights(runner.model), rows=hook.rows, stored=bool(stored))


class CountingHook(StoredTeacherHook):
    """Keeps the numbers of rows that were read and computed in each epoch."""

    def before_train(self, runner):
        super().before_train(runner)
        self.rows = []

    def after_train_epoch(self, runner):
        self.rows.append((self.read, self.computed))
        super().after_train_epoch(runner)


def main():
    init_dist('pytorch')  # The backend is mmengine's default, 'nccl'.
    folder = Path(sys.argv[1])
    results = {name: train_in_two(name) for name in distillers()}
    results['accumulated'] = train_in_two('classes', accumulative_counts=2)
    results['stopped'] = stop_distillation(folder / 'stopped', True)
    results['stored'] = [
        train_from_store(folder / name, folder / 'store', offload=name == 'reader')
        for name in ('writer', 'reader')
    ]
    results['ddp'] = train_by_strategy(folder / 'ddp', type='DDPStrategy')
    if FSDP_ON_CPU:
        wrapper = dict(type='MMFullyShardedDataParallel', device_id='cpu')
        results['fsdp'] = train_by_strategy(
            folder / 'fsdp', type='FSDPStrategy', model_wrapper=wrapper, state_dict_cfg='full'
        )
    try:
        stop_distillation(folder / 'error', False)
    except RuntimeError as error:
        results['error'] = str(error)
    torch.save(results, folder / f'{get_rank()}.pth')


if __name__ == '__main__':
    main()
