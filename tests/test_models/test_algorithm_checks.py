"""Images are normalized for the teacher as its config says, and nothing is ignored."""

import pickle

import numpy as np
import pytest
import torch
from mmengine.testing import assert_allclose
from mmpretrain.structures import DataSample
from mmrazor.registry import MODELS

from ..conftest import algorithm, classifier, distiller

KL = {'loss_kl': dict(type='KLDivergence', tau=4)}
IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
CLIP = dict(mean=[122.77, 116.75, 104.09], std=[68.5, 66.63, 70.32], to_rgb=True)
BGR = dict(mean=[103.0, 116.0, 123.0], std=[1.0, 1.0, 1.0], to_rgb=False)
GRAY = dict(mean=[127.5], std=[127.5])
MIXUP = dict(augments=dict(type='Mixup', alpha=0.8))


def preprocessor(settings, **others):
    return dict(type='mmpretrain.ClsDataPreprocessor', num_classes=10, **settings, **others)


def coloured(width, **arguments):
    cfg = classifier(width)
    cfg['backbone']['in_channels'] = 3
    return {**cfg, **arguments}


def build(architecture=(), teacher=(), skd=True, type='SingleTeacherDistill', **arguments):
    cfg = algorithm(
        distiller(KL, skd=skd),
        type=type,
        architecture=coloured(2, **dict(architecture)),
        teacher=coloured(4, **dict(teacher)),
        **arguments,
    )
    if type == 'SelfDistill':
        del cfg['teacher']
    return MODELS.build(cfg)


def images():
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (4, 3, 8, 8), dtype=np.uint8)
    samples = [DataSample().set_gt_label(label) for label in range(4)]
    return dict(inputs=list(torch.from_numpy(pixels)), data_samples=samples)


def normalize(settings, pixels):
    settings = {**dict(mean=[0.0], std=[1.0]), **settings}
    pixels = torch.stack(pixels).float()
    if settings.get('to_rgb'):
        pixels = pixels.flip(1)
    mean, std = (torch.tensor(settings[name]).view(1, -1, 1, 1) for name in ('mean', 'std'))
    return (pixels - mean) / std


def watch(model):
    """The images that the first layers of both networks receive."""
    seen = {}
    for name in ('student', 'teacher'):
        conv = getattr(model, name).backbone.conv1
        conv.register_forward_pre_hook(lambda _, args, name=name: seen.update({name: args[0]}))
    return seen


@pytest.mark.parametrize('skd', [True, False], ids=['skd', 'kd'])
@pytest.mark.parametrize(
    ('used', 'own'),
    [(IMAGENET, CLIP), (CLIP, BGR), (BGR, IMAGENET), (IMAGENET, GRAY), ({}, CLIP)],
)
def test_a_teacher_sees_images_in_its_own_normalization(used, own, skd):
    model = build(
        teacher=dict(data_preprocessor=preprocessor(own)),
        data_preprocessor=preprocessor(used),
        skd=skd,
    )
    seen = watch(model)
    data = images()
    model(**model.data_preprocessor(images(), True), mode='loss')
    assert_allclose(seen['student'], normalize(used, data['inputs']))
    assert_allclose(seen['teacher'], normalize(own, data['inputs']), rtol=1e-4, atol=1e-4)

    # A pickled one does the same.
    copied = pickle.loads(
        pickle.dumps(
            build(
                teacher=dict(data_preprocessor=preprocessor(own)),
                data_preprocessor=preprocessor(used),
                skd=skd,
            )
        )
    )
    copied_seen = watch(copied)
    copied(**copied.data_preprocessor(images(), True), mode='loss')
    assert_allclose(copied_seen['teacher'], seen['teacher'])

    # As mmrazor's loops validate it.
    model.teacher.data_preprocessor = model.data_preprocessor
    model.teacher.val_step(data)
    assert_allclose(seen['teacher'], normalize(own, data['inputs']), rtol=1e-4, atol=1e-4)


ROUNDED = dict(IMAGENET, mean=[123.68, 116.28, 103.53])


@pytest.mark.parametrize('own', [None, *map(preprocessor, ({}, IMAGENET, ROUNDED))])
def test_a_teacher_without_its_own_sees_what_the_student_sees(own):
    model = build(teacher=dict(data_preprocessor=own), data_preprocessor=preprocessor(IMAGENET))
    seen = watch(model)
    model(**model.data_preprocessor(images(), True), mode='loss')
    assert torch.equal(seen['student'], seen['teacher'])


def test_the_students_own_is_used_where_it_is_the_only_one():
    model = build(
        architecture=dict(data_preprocessor=preprocessor(IMAGENET)),
        teacher=dict(data_preprocessor=preprocessor(CLIP)),
    )
    seen = watch(model)
    data = images()
    model(**model.data_preprocessor(images(), True), mode='loss')
    assert_allclose(seen['student'], normalize(IMAGENET, data['inputs']))
    assert_allclose(seen['teacher'], normalize(CLIP, data['inputs']), rtol=1e-4, atol=1e-4)


def test_an_algorithm_that_runs_parts_of_the_teacher_is_refused():
    expected = r"model\.teacher\.data_preprocessor='dict\(mean.*FpnTeacherDistill runs parts"
    teacher = dict(data_preprocessor=preprocessor(CLIP))
    with pytest.raises(ValueError, match=expected):
        build(type='FpnTeacherDistill', teacher=teacher, data_preprocessor=preprocessor(IMAGENET))
    build(type='FpnTeacherDistill', teacher=teacher, data_preprocessor=preprocessor(CLIP))


@pytest.mark.parametrize('kind', ['SingleTeacherDistill', 'SelfDistill'])
@pytest.mark.parametrize(
    ('ignored', 'key'),
    [
        (
            dict(data_preprocessor=preprocessor(CLIP)),
            r"='dict\(mean=\[122\.77, .*is used: dict\(mean=\[123\.675, ",
        ),
        (dict(data_preprocessor=preprocessor(IMAGENET, pad_size_divisor=32)), 'pad_size_divisor'),
        (dict(data_preprocessor=preprocessor({}, batch_augments=MIXUP)), 'batch_augments'),
        (dict(train_cfg=MIXUP), r'batch_augments \(train_cfg\.augments\)='),
    ],
)
def test_what_is_ignored_of_the_student_is_named(kind, ignored, key):
    used = dict(data_preprocessor=preprocessor(IMAGENET))
    with pytest.raises(ValueError, match=rf'model\.architecture\.data_preprocessor.*{key}'):
        build(architecture=ignored, type=kind, **used)
    build(architecture=ignored, type=kind)


def test_what_the_zoo_says_of_a_student_is_a_warning():
    """mmrazor's config of factor transfer trains a student of CIFAR-10 by ImageNet's mean."""
    path = 'mmcls::resnet/resnet18_8xb16_cifar10.py'
    with pytest.warns(
        UserWarning, match=r"model\.architecture\.data_preprocessor='dict\(mean=\[125"
    ):
        MODELS.build(
            dict(
                algorithm(distiller(KL), data_preprocessor=preprocessor(IMAGENET)),
                architecture=dict(cfg_path=path, pretrained=False),
                teacher=coloured(4),
            )
        )


@pytest.mark.parametrize(
    'same',
    [
        dict(data_preprocessor=preprocessor(IMAGENET, batch_augments=MIXUP)),
        dict(train_cfg=MIXUP),
        dict(data_preprocessor=preprocessor({})),
    ],
)
def test_what_says_the_same_twice_is_accepted(same):
    used = preprocessor(IMAGENET, batch_augments=MIXUP, pad_size_divisor=32)
    build(architecture=same, data_preprocessor=used)


@pytest.mark.parametrize(
    'key', ['calculate_student_loss', 'student_trainable', 'teacher_trainable', 'teacher_norm_eval']
)
def test_a_switch_that_is_text_is_named(key):
    with pytest.raises(ValueError, match=rf"model\.{key}='False', expected True or False"):
        build(**{key: 'False'})
    build(**{key: False})
