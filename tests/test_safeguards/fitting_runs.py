"""Checkpoints of a distillation, and the ways of a runner to load them.

The student is of width 2, the teacher of width 4; between widths the bias of the head is all
that fits.
"""

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from mmrazor.registry import MODELS

from ..conftest import algorithm, classifier, distiller


def distillation(student=2, teacher=4, skd=True, **arguments):
    cfg = distiller({'loss_kl': dict(type='KLDivergence')}, skd=skd)
    models = dict(architecture=classifier(student), teacher=classifier(teacher))
    return algorithm(cfg, **models, **arguments)


class Images(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, i):
        image = torch.from_numpy(np.random.default_rng(i).normal(size=(1, 8, 8))).float()
        return dict(inputs=image, data_samples=DataSample().set_gt_label(i))


def loader():
    return torch.utils.data.DataLoader(Images(), batch_size=4, collate_fn=pseudo_collate)


def build(tmp_path, model, path, resume=False, **arguments):
    return Runner(
        model=model,
        work_dir=str(tmp_path / 'work'),
        train_dataloader=loader(),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.0)),
        val_dataloader=loader(),
        val_cfg=dict(type='mmrazor.SingleTeacherDistillValLoop') if 'teacher' in model else {},
        val_evaluator=dict(type='Accuracy', topk=(1,)),
        test_dataloader=loader(),
        test_cfg=dict(),
        test_evaluator=dict(type='Accuracy', topk=(1,)),
        load_from=str(path),
        resume=resume,
        default_scope='mmpretrain',
        experiment_name=f'{tmp_path}',
        log_level='WARNING',
        **arguments,
    )


def save(tmp_path, model, drop=(), prefix='', **changes):
    """A checkpoint of a model, without the names that begin with those of ``drop``."""
    built = MODELS.build(model)
    state = {f'{prefix}{k}': v for k, v in built.state_dict().items() if not k.startswith(drop)}
    path = tmp_path / 'saved.pth'
    torch.save(dict(dict(state_dict=state, meta=dict(epoch=0, iter=0)), **changes), path)
    return path, built


def by_test(tmp_path, model, path, **arguments):
    build(tmp_path, model, path, **arguments).test()


def by_val(tmp_path, model, path, **arguments):
    build(tmp_path, model, path, **arguments).val()


def by_train(tmp_path, model, path, **arguments):
    build(tmp_path, model, path, **arguments).train()


def by_resume(tmp_path, model, path, **arguments):
    build(tmp_path, model, path, resume=True, **arguments).load_or_resume()
