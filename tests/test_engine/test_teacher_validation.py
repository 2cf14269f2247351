"""While student and teacher are validated, outputs and pictures are the student's."""

import pickle
import tempfile
from pathlib import Path

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS, METRICS

from .runs import loader, run_config

LOOPS = {
    'once': dict(type='mmrazor.FrozenTeacherValLoop'),
    'always': dict(type='mmrazor.FrozenTeacherValLoop', evaluate_teacher='always'),
    "mmrazor's": dict(type='mmrazor.SingleTeacherDistillValLoop'),
}


@HOOKS.register_module()
class NoteOutputs(Hook):
    """As a hook that draws predictions sees them."""

    def before_train(self, runner):
        self.starts, self.scores = 0, []

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        self.starts += 1

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.scores += [sample.pred_score for sample in outputs]


@METRICS.register_module()
class WriteFolder(BaseMetric):
    """Writes into a folder, as a metric of mmseg does, and has another, as one of mmdet."""

    def __init__(self, output_dir):
        super().__init__()
        self.output_dir = output_dir
        Path(output_dir).mkdir()
        self.own = tempfile.TemporaryDirectory()

    def __del__(self):
        self.own.cleanup()

    def process(self, data_batch, data_samples):
        self.results += data_samples
        with open(f'{self.output_dir}/labels.txt', 'a') as file:
            file.writelines(f'{int(sample["pred_label"])}\n' for sample in data_samples)

    def compute_metrics(self, results):
        return {}


@pytest.mark.parametrize('loop', LOOPS)
def test_files_and_hooks_get_the_students_predictions(loop, tmp_path):
    cfg = run_config(
        tmp_path,
        train_cfg=dict(by_epoch=False, max_iters=2, val_interval=2),
        val_dataloader=loader('val', 16, 8),
        val_evaluator=[
            dict(type='Accuracy'),
            dict(type='DumpResults', out_file_path=str(tmp_path / 'results.pkl')),
            dict(type='WriteFolder', output_dir=f'{tmp_path}/labels/'),
        ],
        val_cfg=LOOPS[loop],
        custom_hooks=[dict(type='NoteOutputs')],
    )
    # Batch norm, which computes something else in training mode.
    del cfg.model.architecture.backbone.norm_cfg
    runner = Runner.from_cfg(cfg)
    runner.train()

    models = dict(student=runner.model.student, teacher=runner.model.teacher)
    data = runner.model.data_preprocessor(next(iter(loader_of_all(runner))), False)
    scores = {}
    for name, model in models.items():
        model.eval()
        with torch.no_grad():
            scores[name] = model(data['inputs']).softmax(dim=1)
    assert not scores['student'].allclose(scores['teacher'], atol=0.1)

    (noted,) = [hook for hook in runner.hooks if isinstance(hook, NoteOutputs)]
    assert noted.starts == 2
    torch.testing.assert_close(torch.stack(noted.scores), scores['student'])
    for name, prefix in dict(student='', teacher='teacher.').items():
        with open(tmp_path / f'{prefix}results.pkl', 'rb') as file:
            dumped = torch.stack([sample['pred_score'] for sample in pickle.load(file)])
        torch.testing.assert_close(dumped, scores[name])
        written = [
            int(line) for line in (tmp_path / f'{prefix}labels/labels.txt').read_text().split()
        ]
        assert written == scores[name].argmax(dim=1).tolist()
    paths = [vars(metric) for metric in runner.val_evaluator.metrics]
    assert paths[1]['out_file_path'] == str(tmp_path / 'results.pkl')
    assert Path(paths[2]['own'].name).is_dir()


def loader_of_all(runner):
    """One batch of all that is validated."""
    dataset = runner.val_dataloader.dataset
    return torch.utils.data.DataLoader(
        dataset, len(dataset), collate_fn=runner.val_dataloader.collate_fn
    )
