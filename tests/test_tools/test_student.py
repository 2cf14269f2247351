"""A student leaves the distillation: as a checkpoint and a config, and as ONNX."""

import hashlib
import json
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpretrain import ImageClassificationInferencer

from ..conftest import ROOT, run_python
from ..digits_runs import digits, train

sys.path.insert(0, str(ROOT / 'tools' / 'model_converters'))
import convert_kd_ckpt_to_student as converter

NAMES = [str(digit) for digit in range(10)]


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A runner that distilled for two epochs, with its config and checkpoint on disk."""
    work_dir = tmp_path_factory.mktemp('run')
    digits(work_dir).dump(work_dir / 'skd.py')
    return train(work_dir), work_dir / 'skd.py', work_dir / 'epoch_2.pth'


def convert(monkeypatch, config, checkpoint, out):
    """Runs the tool; returns the student's config and checkpoint."""
    monkeypatch.setattr(
        sys, 'argv', ['convert', str(config), str(checkpoint), '--out-path', str(out)]
    )
    converter.main()
    (pth,) = out.glob('*.pth')
    return pth.with_suffix('.py'), pth


@torch.no_grad()
def predict(runner):
    """What the distillation predicts in validation, and the images that it saw."""
    runner.model.eval()
    (data,) = runner.val_dataloader
    scores = [sample.pred_score for sample in runner.model.val_step(data)]
    return torch.stack(scores).cpu().numpy(), [image[0].cpu().numpy() for image in data['inputs']]


def infer(config, checkpoint, images):
    results = ImageClassificationInferencer(str(config), str(checkpoint))(images, batch_size=64)
    assert [r['pred_class'] for r in results] == [NAMES[r['pred_label']] for r in results]
    return np.stack([r['pred_scores'] for r in results])


def test_the_student_predicts_as_the_distillation_did(monkeypatch, tmp_path, run):
    runner, config, checkpoint = run
    scores, images = predict(runner)
    assert len(set(scores.argmax(axis=1))) > 1, 'it tells images apart'
    student = convert(monkeypatch, config, checkpoint, tmp_path)
    assert np.array_equal(infer(*student, images), scores)


def test_its_name_ends_with_its_hash_and_is_the_same_each_time(monkeypatch, tmp_path, run):
    names = []
    for i in range(2):
        _, path = convert(monkeypatch, *run[1:], tmp_path / str(i))
        assert path.stem.endswith('-' + hashlib.sha256(path.read_bytes()).hexdigest()[:8])
        names.append(path.name)
    assert names[0] == names[1]


def test_it_holds_the_student_and_no_more(monkeypatch, tmp_path, run):
    saved = torch.load(convert(monkeypatch, *run[1:], tmp_path)[1])
    assert set(saved) == {'meta', 'state_dict'}
    assert saved['meta']['dataset_meta']['classes'] == NAMES
    assert not any(k.startswith(('teacher', 'distiller')) for k in saved['state_dict'])


def test_with_an_average_of_the_weights_it_is_the_average(monkeypatch, tmp_path):
    """Which ``EMAHook`` validates, and saves in place of the weights."""
    hook = dict(type='EMAHook', momentum=0.5)
    runner = train(tmp_path, custom_hooks=[hook], **{'train_cfg.max_epochs': 1})
    digits(tmp_path).dump(tmp_path / 'skd.py')
    _, path = convert(monkeypatch, tmp_path / 'skd.py', tmp_path / 'epoch_1.pth', tmp_path / 'out')
    student = torch.load(path)['state_dict']
    (average,) = (h.ema_model.module for h in runner.hooks if hasattr(h, 'ema_model'))
    for name, value in average.student.named_parameters():
        assert torch.equal(student[name], value.cpu()), name
    trained = runner.model.student.head.fc.weight.cpu()
    assert not torch.equal(student['head.fc.weight'], trained)


@pytest.mark.slow
@pytest.mark.parametrize(
    'config',
    [
        str(ROOT / 'configs' / 'skd_kd_resnet34_resnet18_imagenet.py'),
        'mmrazor::distill/mmcls/kd/kd_logits_resnet34_resnet18_8xb32_in1k.py',
    ],
    ids=['skd', 'mmrazor'],
)
def test_it_needs_neither_the_plugin_nor_mmrazor(monkeypatch, tmp_path, config):
    """In an interpreter that has mmpretrain alone, also from a config of mmcls."""
    from mmpretrain import get_model

    (tmp_path / 'skd.py').write_text(f"_base_ = ['{config}']\n")
    cfg = converter.get_student_config(Config.fromfile(tmp_path / 'skd.py'))
    model = get_model(cfg, pretrained=False).eval()
    model.head.fc.weight.data *= 100  # Scores that tell the channels apart.
    weights = {f'architecture.{k}': v for k, v in model.state_dict().items()}
    torch.save({'state_dict': {**weights, 'teacher.x': torch.ones(1)}}, tmp_path / 'skd.pth')
    image = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    np.save(tmp_path / 'image.npy', image)

    student = convert(monkeypatch, tmp_path / 'skd.py', tmp_path / 'skd.pth', tmp_path / 'out')
    output = run_python(
        '-c',
        'import sys, numpy\n'
        'sys.modules.update(skd_mmrazor=None, mmrazor=None, mmcls=None)\n'
        'from mmpretrain import ImageClassificationInferencer\n'
        f'inferencer = ImageClassificationInferencer({str(student[0])!r}, {str(student[1])!r})\n'
        f'result = inferencer(numpy.load({str(tmp_path / "image.npy")!r}))[0]\n'
        "print('scores', result['pred_scores'].tolist())\n",
    )
    scores = json.loads(output.rpartition('scores ')[2])
    # ImageNet's preprocessing of an image of this size, written out.
    mean, std = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
    crop = image[16:240, 16:240, ::-1]
    inputs = torch.from_numpy(((crop - mean) / std).transpose(2, 0, 1)[None]).float()
    with torch.no_grad():
        expected, swapped = model(torch.cat([inputs, inputs.flip(1)])).softmax(dim=1)
    assert torch.allclose(torch.tensor(scores), expected, rtol=1e-2, atol=1e-5)
    assert not torch.allclose(swapped, expected, rtol=1e-1, atol=1e-3)


def test_a_checkpoint_without_a_student_is_named(monkeypatch, tmp_path, run):
    torch.save({'state_dict': {'backbone.conv1.weight': torch.ones(1)}}, tmp_path / 'teacher.pth')
    message = (
        r"teacher\.pth: no weights of a student, .*'architecture\.', found .*'backbone\.conv1\.w"
    )
    with pytest.raises(SystemExit, match=message):
        convert(monkeypatch, run[1], tmp_path / 'teacher.pth', tmp_path)


def test_what_a_checkpoint_of_another_config_lacks_is_named(monkeypatch, tmp_path, run):
    cfg = digits(tmp_path, **{'model.architecture.backbone.num_stages': 3})
    cfg.merge_from_dict(
        {
            f'model.architecture.backbone.{key}': value
            for key, value in dict(strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2,)).items()
        }
    )
    cfg.dump(tmp_path / 'deeper.py')
    message = (
        r'epoch_2\.pth does not fit the student .* is .*layer3\.0\..*, which is not in the file'
    )
    with pytest.raises(ValueError, match=message):
        convert(monkeypatch, tmp_path / 'deeper.py', run[2], tmp_path)


@pytest.mark.parametrize(
    ('model', 'message'),
    [
        (dict(type='ImageClassifier'), r"model\.type='ImageClassifier', expected a distillation"),
        (
            dict(type='SingleTeacherDistill', architecture=dict(_scope_='mmpose', type='Pose')),
            r"model\.architecture is of 'mmpose', expected one of .*'mmpretrain'.*'mmdet'",
        ),
    ],
    ids=['no distillation', 'another package'],
)
def test_a_config_without_a_student_that_is_known_is_refused(model, message):
    with pytest.raises(SystemExit, match=message):
        converter.get_student_config(Config(dict(model=model, test_dataloader={})))


@pytest.mark.parametrize('arguments', [(), ('--logits',)], ids=['scores', 'logits'])
def test_onnx_gives_what_the_inferencer_gives(monkeypatch, tmp_path, run, arguments):
    """From raw pixels, for any number of images, with the names of the classes."""
    onnxruntime = pytest.importorskip('onnxruntime')
    monkeypatch.syspath_prepend(ROOT / 'tools' / 'deployment')
    import pytorch2onnx

    runner, config, checkpoint = run
    scores, images = predict(runner)
    config, checkpoint = convert(monkeypatch, config, checkpoint, tmp_path)
    monkeypatch.setattr(
        sys, 'argv', ['onnx', str(config), str(checkpoint), '--shape', '8', *arguments]
    )
    pytorch2onnx.main()
    session = onnxruntime.InferenceSession(str(checkpoint.with_suffix('.onnx')))
    pixels = np.stack(images)[:, None].astype(np.float32)
    (output,) = session.run(None, {'images': pixels})
    if arguments:
        assert session.get_outputs()[0].name == 'logits'
        output = torch.from_numpy(output).softmax(dim=1).numpy()
    assert np.abs(output - scores).max() < 1e-5
    assert json.loads(session.get_modelmeta().custom_metadata_map['classes']) == NAMES


def test_settings_are_overridden_as_in_training(monkeypatch, tmp_path, run):
    options = ('--cfg-options', 'model.architecture.head.topk=3', 'data_preprocessor.mean=[12.5]')
    monkeypatch.setattr(
        sys, 'argv', ['convert', *map(str, run[1:]), '--out-path', str(tmp_path), *options]
    )
    converter.main()
    cfg = Config.fromfile(next(tmp_path.glob('*.py')))
    assert cfg.model.head.topk == 3
    assert cfg.data_preprocessor.mean == [12.5]
    # The file is there now, and stays without --force.
    (path,) = tmp_path.glob('*.pth')
    path.write_bytes(b'mine')
    with pytest.raises(FileExistsError, match='expected a new name or --force'):
        converter.main()
    assert path.read_bytes() == b'mine'


@pytest.mark.parametrize(
    ('places', 'expected'),
    [(('algorithm', 'config', 'student'), 1.0), (('config', 'student'), 2.0), (('student',), 3.0)],
    ids=['algorithm', 'config', 'student'],
)
def test_the_preprocessing_is_what_the_student_was_trained_with(places, expected):
    """The algorithm's comes first, then the config's, then the student's own."""
    means = dict(algorithm=1.0, config=2.0, student=3.0)
    one, two, three = (
        dict(data_preprocessor=dict(type='ClsDataPreprocessor', mean=[mean], std=[1.0]))
        if place in places
        else {}
        for place, mean in means.items()
    )
    student = dict(_scope_='mmpretrain', type='ImageClassifier', **three)
    model = dict(type='SingleTeacherDistill', architecture=student, **one)
    cfg = converter.get_student_config(Config(dict(model=model, test_dataloader={}, **two)))
    assert cfg.data_preprocessor.mean == [expected]


@pytest.mark.parametrize(
    'written',
    [dict(type='Digits', _scope_='skd_mmrazor'), dict(type='skd_mmrazor.datasets.Digits')],
)
def test_what_the_plugin_has_keeps_its_scope(written):
    found = converter.name_in_mmpretrain(dict(written, pipeline=[dict(type='mmcls.PackInputs')]))
    assert found == dict(type='skd_mmrazor.Digits', pipeline=[dict(type='PackInputs')])
    assert converter.needs_plugin(found)
