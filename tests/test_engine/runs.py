"""Short runs of mmengine's Runner, in this process, on a few digits."""

import json
import uuid

from mmengine.config import Config
from mmengine.runner import Runner

from ..conftest import algorithm, classifier, distiller

KL = {'loss_kl': dict(type='KLDivergence', tau=4)}


def student(width=2):
    """A classifier without layers that see the batch: GroupNorm of one group."""
    cfg = classifier(width)
    cfg['head']['init_cfg'] = dict(type='Normal', layer='Linear', std=1.0)
    cfg['backbone']['norm_cfg'] = dict(type='GN', num_groups=1)
    return cfg


def teacher():
    """A classifier whose targets differ from the start: the simplifier has work."""
    cfg = classifier(4)
    cfg['head']['init_cfg'] = dict(type='Normal', layer='Linear', std=10.0)
    return cfg


def run_config(work_dir, iters=4, batch_size=8, simplifier=(), width=2, **settings):
    """A config that trains on 8 * 4 digits in their order; ``settings`` override."""
    simplifier = dict(type='AttentionSimplifierConnector', **dict(simplifier))
    cfg = dict(
        default_scope='mmpretrain',
        model=algorithm(
            distiller(KL, simplifier=simplifier, log_interval=1),
            architecture=student(width),
            teacher=teacher(),
            data_preprocessor=dict(
                type='mmpretrain.ClsDataPreprocessor', num_classes=10, mean=[78.4], std=[96.1]
            ),
        ),
        train_dataloader=loader('train', 32, batch_size),
        train_cfg=dict(by_epoch=False, max_iters=iters),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1),
            checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=100),
        ),
        log_processor=dict(window_size=1),
        randomness=dict(seed=0),
        work_dir=str(work_dir),
        experiment_name=uuid.uuid4().hex,
        log_level='ERROR',
    )
    cfg.update(settings)
    return Config(cfg)


def loader(split, size, batch_size):
    return dict(
        batch_size=batch_size,
        num_workers=0,
        dataset=dict(
            type='skd_mmrazor.Digits', split=split, indices=size, pipeline=[dict(type='PackInputs')]
        ),
        sampler=dict(type='DefaultSampler', shuffle=False),
    )


def train(work_dir, runner=Runner, **settings):
    """Trains and returns the runner."""
    runner = runner.from_cfg(run_config(work_dir, **settings))
    runner.train()
    return runner


def logged(runner, key):
    """A value of every iteration, from the log that the user reads."""
    with open(f'{runner.log_dir}/vis_data/scalars.json') as lines:
        return [record[key] for record in map(json.loads, lines) if key in record]


def weights(model):
    """Copies of all parameters that train, by name."""
    model = getattr(model, 'module', model)
    return {k: p.detach().clone() for k, p in model.named_parameters() if p.requires_grad}


def difference(ours, theirs):
    """The largest absolute difference between two such dicts."""
    assert ours.keys() == theirs.keys()
    return max((ours[k] - theirs[k]).abs().max().item() for k in ours)
