"""What a checkpoint has to fit, judged for the student and the teacher each by itself.

Each refusal has a twin that is accepted.
"""

import re
import sys

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmrazor.registry import MODELS

from skd_mmrazor.safeguards import load_exactly, load_whole

from ..conftest import ROOT, classifier
from .fitting_runs import build, by_resume, by_test, by_train, by_val, distillation, save

WAYS = [by_test, by_val, by_train, by_resume]
BACKBONE = 'architecture.backbone.conv1.weight'


@pytest.mark.parametrize('prefix', ['', 'module.'])
@pytest.mark.parametrize('way', WAYS)
def test_a_student_of_another_width_is_refused(tmp_path, way, prefix):
    """Though teacher and simplifier fit."""
    path, _ = save(tmp_path, distillation(student=3), prefix=prefix)
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        way(tmp_path, distillation(), path)
    message = str(caught.value)
    assert 'does not fit the student (ImageClassifier with ResNet_CIFAR): 1 of its 52 ' in message
    shapes = f'shape {torch.Size([3, 1, 3, 3])}, not {torch.Size([2, 1, 3, 3])}'
    assert f"fit is '{BACKBONE}': {shapes}." in message


@pytest.mark.parametrize('way', WAYS)
def test_a_teacher_of_another_width_is_refused(tmp_path, way):
    path, _ = save(tmp_path, distillation(teacher=3))
    with pytest.raises(ValueError, match=r'saved\.pth.* does not fit the teacher .* 1 of its 52 '):
        way(tmp_path, distillation(), path)


@pytest.mark.parametrize('prefix', ['', 'module.'])
@pytest.mark.parametrize('way', [by_test, by_val, by_train])
def test_a_checkpoint_that_fits_is_loaded(tmp_path, way, prefix):
    path, saved = save(tmp_path, distillation(), prefix=prefix)
    runner = build(tmp_path, distillation(), path)
    dict(by_test=runner.test, by_val=runner.val, by_train=runner.train)[way.__name__]()
    for name, value in saved.named_parameters():
        assert torch.equal(runner.model.get_parameter(name).cpu(), value), name


@pytest.mark.parametrize('way', [by_test, by_resume])
@pytest.mark.parametrize('missing', ['architecture.head', 'architecture.backbone.bn1.running_var'])
def test_one_tensor_is_enough_to_refuse(tmp_path, way, missing):
    """A buffer too: batch norm without its statistics predicts something else."""
    path, _ = save(tmp_path, distillation(), drop=missing)
    match = rf'does not fit the student .*{missing}.*, which is not in the file'
    with pytest.raises(ValueError, match=match):
        way(tmp_path, distillation(), path)


def test_training_may_begin_with_another_head(tmp_path):
    """And says what stays as it was."""
    path, _ = save(tmp_path, distillation(), drop='architecture.head')
    by_train(tmp_path, distillation(), path)
    (log,) = tmp_path.glob('work/*/*.log')
    match = (
        r"saved\.pth' does not fit the student .* 50 of its 52 .* 'architecture\.head\.fc\.weight'"
    )
    assert re.search(match, log.read_text())


def test_what_is_loaded_after_a_resume_may_be_a_part(tmp_path):
    part, _ = save(tmp_path, distillation(), drop='architecture.head')
    runner = build(tmp_path, distillation(), part)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    with pytest.raises(ValueError, match=r"saved\.pth' cannot be resumed from"):
        runner.resume(str(part))
    runner.load_checkpoint(str(part))


@pytest.mark.parametrize(('way', 'is_refused'), [(by_test, False), (by_resume, True)])
def test_a_simplifier_is_needed_to_resume_and_not_to_test(tmp_path, way, is_refused):
    _, model = save(tmp_path, distillation())
    simplifier = next(k for k, _ in model.named_parameters() if k.startswith('distiller.'))
    path, _ = save(tmp_path, distillation(), drop=simplifier)
    if is_refused:
        with pytest.raises(ValueError, match=rf'does not fit the model.*{re.escape(simplifier)}'):
            way(tmp_path, distillation(), path)
    else:
        way(tmp_path, distillation(), path)


@pytest.mark.parametrize('way', [by_test, by_train])
def test_a_student_by_itself_is_refused_with_the_reason(tmp_path, way):
    path, _ = save(tmp_path, classifier(2))
    match = r"fit the student .* 0 of its 52 .*; its names lack 'architecture\.', as those of a"
    with pytest.raises(ValueError, match=match):
        way(tmp_path, distillation(), path)
    by_test(tmp_path / 'twin', classifier(2), path)


def test_a_teacher_may_come_from_its_own_file_alone(tmp_path):
    (tmp_path / 'teacher').mkdir()
    teacher, _ = save(tmp_path / 'teacher', classifier(4))
    path, _ = save(tmp_path, distillation(), drop='teacher.')
    by_test(tmp_path, distillation(teacher_ckpt=str(teacher)), path)
    with pytest.raises(ValueError, match=r'does not fit the teacher .* which is not in the file'):
        by_test(tmp_path, distillation(), path)


def test_a_teacher_that_is_in_the_checkpoint_has_to_fit(tmp_path):
    """Though another one was loaded from its own file."""
    (tmp_path / 'teacher').mkdir()
    teacher, _ = save(tmp_path / 'teacher', classifier(4))
    path, _ = save(tmp_path, distillation(teacher=3))
    with pytest.raises(ValueError, match=r'saved\.pth.* does not fit the teacher .* 1 of its 52 '):
        by_test(tmp_path, distillation(teacher_ckpt=str(teacher)), path)


def test_the_average_of_the_weights_is_judged_too(tmp_path):
    ema = dict(custom_hooks=[dict(type='EMAHook', momentum=0.5)])
    path, _ = save(tmp_path, distillation())
    by_test(tmp_path, distillation(), path, **ema)
    path, _ = save(tmp_path, distillation(student=3))
    with pytest.raises(ValueError, match='does not fit the student'):
        by_test(tmp_path, distillation(), path, **ema)


def load_to_test(tmp_path, model, path):
    runner = build(tmp_path, model, path)
    assert runner.test_loop
    runner.load_or_resume()


def test_a_model_that_averages_over_augmented_images_is_judged_by_what_it_wraps(tmp_path):
    path, _ = save(tmp_path, distillation())
    load_to_test(tmp_path, dict(type='AverageClsScoreTTA', module=distillation()), path)
    with pytest.raises(ValueError, match=r'does not fit the student .* 1 of its 52 '):
        load_to_test(tmp_path, dict(type='AverageClsScoreTTA', module=distillation(3)), path)


@MODELS.register_module()
class TwoTeachers(BaseModel):
    """Has them as the algorithms without data do."""

    def __init__(self, width=3, **kwargs):
        super().__init__(**kwargs)
        self.architecture, self.distiller = torch.nn.Linear(2, 2), torch.nn.Identity()
        self.teachers = torch.nn.ModuleDict(
            dict(a=torch.nn.Linear(2, 2), b=torch.nn.Linear(width, 2))
        )

    def forward(self, *args, **kwargs):
        raise NotImplementedError


def test_each_of_several_teachers_has_to_fit(tmp_path):
    path, _ = save(tmp_path, dict(type='mmrazor.TwoTeachers'))
    load_to_test(tmp_path, dict(type='mmrazor.TwoTeachers'), path)
    with pytest.raises(ValueError, match=r"does not fit the teacher 'b' \(Linear\): 1 of its 2 "):
        load_to_test(tmp_path, dict(type='mmrazor.TwoTeachers', width=4), path)


@pytest.mark.parametrize('way', [by_test, by_train, by_resume])
def test_a_model_without_a_teacher_is_judged_as_a_whole(tmp_path, way):
    path, _ = save(tmp_path, classifier(3))
    with pytest.raises(ValueError, match=r'saved\.pth.* does not fit the model .* 1 of its 52 '):
        way(tmp_path, classifier(2), path)


@pytest.mark.parametrize(
    ('saved', 'message'),
    [
        (classifier(3), r'does not fit the model .* 1 of its 52 '),
        (classifier(4), r'does not fit the model .* 1 of its 52 '),
        (distillation(), r'does not fit the model .* 0 of its 52 '),
        (dict(classifier(2), train_cfg=None), None),
    ],
    ids=['another width', "the teacher's", "the distillation's", 'its own'],
)
def test_the_export_to_onnx_takes_the_student_alone(tmp_path, monkeypatch, saved, message):
    pytest.importorskip('onnxruntime')
    monkeypatch.syspath_prepend(ROOT / 'tools' / 'deployment')
    import pytorch2onnx

    path, _ = save(tmp_path, saved)
    grey = dict(type='ClsDataPreprocessor', mean=[127.5], std=[127.5])
    Config(dict(model=classifier(2), data_preprocessor=grey)).dump(tmp_path / 'student.py')
    arguments = ['onnx', str(tmp_path / 'student.py'), str(path), '--shape', '8']
    monkeypatch.setattr(sys, 'argv', arguments)
    if message is None:
        pytorch2onnx.main()
    else:
        with pytest.raises(ValueError, match=rf'saved\.pth.* {message}'):
            pytorch2onnx.main()
    assert path.with_suffix('.onnx').exists() == (message is None)
    assert not list(tmp_path.glob('*.tmp'))


def test_weights_for_which_a_model_has_no_place_are_refused():
    weights = MODELS.build(classifier(2)).state_dict()
    load_exactly(MODELS.build(classifier(2)), weights, 'student', 'x.pth')
    more = {**weights, 'head.fc2.weight': torch.ones(1)}
    match = r"x\.pth does not fit the student .* 1 more .* first is 'head\.fc2\.weight'"
    with pytest.raises(ValueError, match=match):
        load_exactly(MODELS.build(classifier(2)), more, 'student', 'x.pth')


@pytest.mark.parametrize(
    ('weight', 'message'),
    [
        (torch.zeros(3, 2).to_sparse(), 'layout torch.sparse_coo, not torch.strided'),
        (torch.zeros(3, 2, device='meta'), 'device meta, not cpu'),
        (torch.zeros(2), 'shape torch.Size([2]), not torch.Size([3, 2])'),
        (5, 'shape int, not torch.Size([3, 2])'),
    ],
)
def test_what_is_said_to_differ_differs(weight, message):
    weights = dict(weight=weight, bias=torch.zeros(3))
    match = re.escape(f"does not fit is 'weight': {message}.")
    with pytest.raises(ValueError, match=match):
        load_exactly(torch.nn.Linear(2, 3), weights, 'model', 'x.pth')


class Deaf(torch.nn.Linear):
    """Loads nothing."""

    def _load_from_state_dict(self, *args):
        pass


def test_what_a_model_does_not_take_is_said():
    match = r"is 'weight', which is in the file, but was not loaded\."
    with pytest.raises(ValueError, match=match):
        load_exactly(Deaf(2, 3), torch.nn.Linear(2, 3).state_dict(), 'model', 'x.pth')


def test_load_whole_gives_the_checkpoint(tmp_path):
    path, saved = save(tmp_path, classifier(2))
    model = MODELS.build(classifier(2))
    assert load_whole(model, path)['meta'] == dict(epoch=0, iter=0)
    assert torch.equal(model.head.fc.weight, saved.head.fc.weight)
