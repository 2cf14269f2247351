"""Pictures of the simplified targets, and that drawing them does not change the training."""

import random

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from mmengine.dataset import BaseDataset, pseudo_collate
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS, TRANSFORMS
from mmpretrain.structures import DataSample
from mmrazor.registry import MODELS
from PIL import Image
from torch import nn

from skd_mmrazor import visualization
from skd_mmrazor.engine.hooks import FrozenTeacherHook, SimplifierVisualizationHook
from skd_mmrazor.engine.hooks.simplifier_visualization_hook import _get_images, _get_logits
from skd_mmrazor.visualization import draw_simplification, draw_simplified_maps, simplification

from ..digits_runs import KD, assert_same_state, digits, load, train

HOOK = dict(type='mmrazor.SimplifierVisualizationHook', interval=1)


@TRANSFORMS.register_module()
class DrawNumbers:
    """Draws from every generator that a transform can draw from."""

    def __call__(self, results):
        random.random(), np.random.rand(), torch.rand(1)
        return results


def options(*hooks, **others):
    """Without ``EpochSeedHook``, which would hide that numbers were drawn."""
    pipeline = [dict(type='DrawNumbers'), dict(type='PackInputs')]
    return {
        'custom_hooks': [*hooks],
        'val_dataloader.dataset.pipeline': pipeline,
        # A dropout makes the student depend on torch's generator.
        'model.architecture.backbone.drop_path_rate': 0.5,
        **others,
    }


def pictures(work_dir):
    return sorted(path.name for path in work_dir.glob('*/vis_data/vis_image/*.png'))


def test_training_is_bitwise_the_same(tmp_path):
    simplifier = {'model.distiller.simplifier.max_lam': 0.5}
    train(tmp_path / 'without', **options(**simplifier))
    train(tmp_path / 'with', **options(HOOK, **simplifier))
    assert pictures(tmp_path / 'without') == []
    assert pictures(tmp_path / 'with') == ['simplification_1.png', 'simplification_2.png']
    assert_same_state(load(tmp_path / 'without', 2), load(tmp_path / 'with', 2))


class Compare(SimplifierVisualizationHook):
    """Records what the hook could change, before and after it draws."""

    def after_train_epoch(self, runner):
        self.before = self.note(runner.model)
        super().after_train_epoch(runner)
        self.after = self.note(runner.model)

    def note(self, model):
        name, keys, *position = np.random.get_state()
        recorders = {**model.distiller.teacher_recorders.recorders}
        recorders |= {f's.{k}': r for k, r in model.distiller.student_recorders.recorders.items()}
        return dict(
            python=random.getstate(),
            numpy=(name, keys.tolist(), *position),
            torch=torch.get_rng_state().tolist(),
            modes=[module.training for module in model.modules()],
            records={k: [id(x) for x in r.data_buffer] for k, r in recorders.items()},
            recording=[getattr(r, 'recording', None) for r in recorders.values()],
            gradients=[None if p.grad is None else id(p.grad) for p in model.parameters()],
        )


def test_generators_modes_and_records_are_put_back(tmp_path):
    """And a picture is drawn at the second of two epochs, as ``interval=2`` says."""
    runner = Runner.from_cfg(digits(tmp_path, **options()))
    hook = Compare(interval=2, num_samples=3)
    runner.register_hook(hook)
    runner.train()
    assert pictures(tmp_path) == ['simplification_2.png']
    (path,) = tmp_path.glob('*/vis_data/vis_image/*.png')
    assert len(np.unique(np.asarray(Image.open(path)).reshape(-1, 3), axis=0)) > 100
    assert hook.before['records']['fc'], 'the last batch was recorded'
    assert len(set(hook.before['modes'])) == 2, 'parts are in another mode than the whole'
    assert hook.after == hook.before


def test_a_loop_without_epochs_draws_by_iterations(tmp_path):
    loop = {'train_cfg': dict(_delete_=True, by_epoch=False, max_iters=5)}
    train(tmp_path, **options(dict(HOOK, interval=2), **loop))
    assert pictures(tmp_path) == ['simplification_2.png', 'simplification_4.png']


def test_a_model_without_a_teacher_is_refused(tmp_path):
    cfg = digits(tmp_path, **options(HOOK))
    cfg.model.type = 'SelfDistill'
    del cfg.model.teacher, cfg.model.teacher_ckpt, cfg.val_cfg.type
    with pytest.raises(ValueError, match=r"model\.type='SelfDistill', expected .* a teacher"):
        Runner.from_cfg(cfg).train()


def test_a_map_of_the_teacher_alone_is_refused_before_training(tmp_path):
    cfg = digits(tmp_path, **options(dict(HOOK, interval=100)))
    cfg.model.teacher = cfg.model.architecture
    for side in ('student_recorders', 'teacher_recorders'):
        cfg.model.distiller[side].fc.source = 'backbone.conv1'
    cfg.model.distiller.simplified_losses = dict(loss_kl='preds_T')
    with pytest.raises(ValueError, match=r"student's logits=\(16, 10\), expected as many classes"):
        Runner.from_cfg(cfg).train()


@MODELS.register_module()
class Segmentor(BaseModel):
    """Gives each pixel one of ten classes."""

    def __init__(self, data_preprocessor=None):
        super().__init__(data_preprocessor)
        self.num_classes = 10
        self.conv_seg = nn.Conv2d(1, 10, 3, padding=1)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        logits = self.conv_seg(inputs)
        return dict(loss=logits.square().mean()) if mode == 'loss' else logits


@pytest.mark.parametrize('is_pyramid', [False, True])
def test_maps_of_classes_are_drawn_and_those_of_a_pyramid_refused(
    monkeypatch, tmp_path, is_pyramid
):
    drawn = []
    draw = draw_simplified_maps
    monkeypatch.setattr(
        visualization, 'draw_simplified_maps', lambda *a: (drawn.append(a), draw(*a))[1]
    )
    cfg = digits(tmp_path, **options())
    cfg.model.architecture = cfg.model.teacher = dict(_scope_='mmrazor', type='Segmentor')
    logits = dict(logits=dict(type='ModuleOutputs', source='conv_seg'))
    records = dict(recorder='logits', **dict(record_idx='all') if is_pyramid else {})
    cfg.model.distiller = dict(
        type='SKDDistiller',
        simplifier=dict(type='AttentionSimplifierConnector', max_lam=0.5, learn_lam=False),
        student_recorders=logits,
        teacher_recorders=logits,
        distill_losses=dict(loss_cwd=dict(type='ChannelWiseDivergence')),
        loss_forward_mappings=dict(
            loss_cwd=dict(
                preds_S=dict(records, from_student=True),
                preds_T=dict(records, from_student=False),
            )
        ),
    )
    cfg.model.pop('teacher_ckpt', None)
    runner = Runner.from_cfg(cfg)
    hook = SimplifierVisualizationHook(batch_size=8, num_samples=2)
    if is_pyramid:
        message = r"shape of the teacher's logits='1 levels'.*, or custom_hooks without Simpl"
        with pytest.raises(ValueError, match=message):
            hook.before_train(runner)
        return
    hook.before_train(runner)
    ((images, classes, palette, scores, title, number),) = drawn
    assert title.startswith('Epoch 1 ')
    assert (len(images), len(classes), palette.shape, number) == (8, 10, (10, 3), 2)
    assert len(np.unique(palette, axis=0)) == 10
    model = runner.model
    model.eval()
    inputs = (torch.from_numpy(np.stack(images))[:, None].float() - 78.4) / 96.1
    with torch.no_grad():
        teacher, student = (m(inputs) for m in (model.teacher, model.student))
        model.distiller.simplifier.training = True
        simplified = model.distiller.simplifier(teacher)
    for name, z in dict(teacher=teacher, simplified=simplified, student=student).items():
        assert np.allclose(scores[name], z.softmax(dim=1), atol=1e-6), name
    assert not np.allclose(scores['teacher'], scores['simplified'], atol=1e-3)


def test_a_map_has_the_colours_of_its_classes_where_it_is_sure():
    """Of the least sure image, and a student of another stride."""
    sure, unsure = np.eye(3)[[[0, 0], [0, 0]]], np.full((2, 2, 3), 1 / 3)
    left = np.eye(3)[np.arange(4)[None].repeat(4, axis=0) // 2]
    moved = unsure.copy()
    moved[0, 0] = (1, 0, 0)

    def maps(*images):
        return np.stack([np.moveaxis(image, -1, 0) for image in images])

    picture = draw_simplified_maps(
        [np.full((20, 30, 3), shade, dtype=np.uint8) for shade in (10, 240)],
        ['red', 'green', 'blue'],
        np.eye(3),
        dict(teacher=maps(sure, unsure), simplified=maps(sure, moved), student=maps(left, left)),
        'Iteration 1',
        num_samples=1,
    )
    shares = {
        color: (picture == color).all(axis=-1).mean()
        for color in ((240, 240, 240), (10, 10, 10), (85, 85, 85), (255, 0, 0), (0, 255, 0))
    }
    assert shares[10, 10, 10] == 0, 'the teacher is sure of the first'
    panel = shares[240, 240, 240]
    assert panel > 0.03
    # Pixels at the edges of a panel, and the legend, are not counted exactly.
    assert shares[85, 85, 85] == pytest.approx(1.75 * panel, rel=0.1)
    assert shares[255, 0, 0] == pytest.approx(0.75 * panel, rel=0.1)
    assert shares[0, 255, 0] == pytest.approx(0.5 * panel, rel=0.1)


def test_the_teacher_is_drawn_in_evaluation_mode_beside_a_frozen_teacher_hook(tmp_path):
    class LookTwice(SimplifierVisualizationHook):
        def _draw(self, runner, model):
            data = runner.train_dataloader.dataset[0]
            batch = pseudo_collate([data, data])
            self.looks = [_get_logits(model, batch)[0] for _ in range(2)]
            return super()._draw(runner, model)

    # Paths of a network that is not trained add nothing, unless they are told to.
    dropped = dict(drop_path_rate=0.5, zero_init_residual=False)
    settings = {f'model.teacher.backbone.{key}': value for key, value in dropped.items()}
    runner = Runner.from_cfg(digits(tmp_path, **options(**settings)))
    hook = LookTwice(interval=1)
    runner.register_hook(hook)
    runner.register_hook(FrozenTeacherHook())
    runner.train()
    assert hook.looks[0].equal(hook.looks[1])


def test_the_picture_is_of_what_the_loss_receives(monkeypatch, tmp_path):
    """The images, their labels, and the targets that the distiller makes of them."""
    drawn = []
    draw = draw_simplification

    def spy(*arguments):
        drawn[:] = arguments
        return draw(*arguments)

    monkeypatch.setattr(visualization, 'draw_simplification', spy)
    settings = {
        'train_cfg.max_epochs': 1,
        # What is done to a batch in training is not done to the images that are drawn.
        'data_preprocessor.batch_augments': dict(augments=dict(type='Mixup', alpha=0.8)),
        'model.distiller.simplifier': dict(
            type='AttentionSimplifierConnector', max_lam=0.5, learn_lam=False
        ),
        # Targets that differ, of a teacher that is not trained.
        'model.teacher.head.init_cfg': dict(type='Normal', layer='Linear', std=10.0),
    }
    runner = train(tmp_path, **options(dict(HOOK, batch_size=8), **settings))

    images, labels, classes, scores, attention, title, *_ = drawn
    dataset, model = runner.val_dataloader.dataset, runner.model.cpu()
    model.eval()
    indices = np.linspace(0, len(dataset) - 1, 8).round().astype(int)
    infos = [dataset.get_data_info(i) for i in indices]
    assert all((image == info['img']).all() for image, info in zip(images, infos, strict=True))
    assert labels == [[info['gt_label']] for info in infos]
    assert classes == [str(digit) for digit in range(10)]
    assert title.startswith('Epoch 1 ')
    assert 's = 0.25   ·   λ = +0.500' in title
    assert attention.shape == (8, 8)

    pixels = torch.from_numpy(np.stack(images))[:, None].float()
    inputs = (pixels - 78.4) / 96.1
    with torch.no_grad():
        teacher, student = (m(inputs) for m in (model.teacher, model.student))
        # In training mode, and so softened: these are its first steps.
        simplified = model.distiller.simplifier.train()(teacher)
        factor = model.distiller.simplifier.current_factor
    assert factor < 0.3
    for name, z in dict(teacher=teacher, simplified=simplified, student=student).items():
        assert np.allclose(scores[name], (z / 4).softmax(dim=1), atol=1e-6), name
    assert not np.allclose(scores['teacher'], scores['simplified'], atol=1e-3)
    # The attention that is drawn gives the target that is drawn.
    soft = (factor * teacher / 4).log_softmax(dim=1)
    mixed = 0.5 * soft + 0.5 * torch.from_numpy(attention) @ soft
    assert np.allclose(scores['simplified'], mixed.softmax(dim=1), atol=1e-5)
    assert not np.allclose(attention, np.eye(8), atol=1e-2)
    assert not np.allclose(attention, attention.T, atol=1e-2)


class WithoutLabels(torch.utils.data.Dataset):
    """Of three samples the first has no label, the second one, the third two."""

    metainfo = {}

    def __len__(self):
        return 3

    def __getitem__(self, index):
        sample = DataSample()
        if index:
            sample.set_gt_label(list(range(3, 3 + index)))
        return dict(inputs=torch.zeros(1, 8, 8, dtype=torch.uint8), data_samples=sample)


@pytest.mark.parametrize('unlabelled', ['samples', 'data'])
def test_samples_of_no_label_or_of_several_are_drawn(monkeypatch, tmp_path, unlabelled):
    drawn = []
    draw = simplification.draw_image
    monkeypatch.setattr(simplification, 'draw_image', lambda *a: (drawn.append(a[2]), draw(*a)))
    runner = Runner.from_cfg(digits(tmp_path, **options()))
    dataset = WithoutLabels()
    expected = ['', '3', '3, 4']
    if unlabelled == 'data':
        monkeypatch.setattr(
            WithoutLabels, '__getitem__', lambda *_: dict(inputs=torch.zeros(1, 8, 8))
        )
        expected = ['', '', '']
    runner.val_loop.dataloader = torch.utils.data.DataLoader(dataset, collate_fn=pseudo_collate)
    SimplifierVisualizationHook(num_samples=3).before_train(runner)
    assert drawn == expected


@DATASETS.register_module()
class Colours(BaseDataset):
    """Wide images in which each pixel has another colour, with channels in a given order."""

    METAINFO = dict(classes=[str(c) for c in range(10)])

    def __init__(self, order, **kwargs):
        self.order = order
        super().__init__(**kwargs)

    def load_data_list(self):
        return [
            dict(img=np.ascontiguousarray(picture(i)[..., self.order]), gt_label=i)
            for i in range(4)
        ]


def picture(i):
    """In RGB, 8 high and 12 wide."""
    y, x = np.mgrid[:8, :12]
    return np.stack([250 - 3 * y, 5 * x + i, 20 * i + y], axis=-1).astype(np.uint8)


BY_PREPROCESSOR = {
    'mmpretrain, from BGR': (dict(type='mmpretrain.ClsDataPreprocessor', to_rgb=True), [2, 1, 0]),
    'mmpretrain, as it is': (dict(type='mmpretrain.ClsDataPreprocessor'), [0, 1, 2]),
    'mmengine, from BGR': (dict(type='mmengine.ImgDataPreprocessor', bgr_to_rgb=True), [2, 1, 0]),
}


@pytest.mark.parametrize('name', BY_PREPROCESSOR)
def test_the_colours_are_those_of_the_data(monkeypatch, tmp_path, name):
    """Red is red, whatever the order of the channels in which the data set loads it."""
    preprocessor, order = BY_PREPROCESSOR[name]
    drawn = []

    def spy(images, *arguments):
        drawn.extend(images)
        return draw_simplification(images, *arguments)

    monkeypatch.setattr(visualization, 'draw_simplification', spy)
    cfg = digits(tmp_path)
    cfg.val_dataloader.dataset = dict(
        type='Colours', order=order, pipeline=[dict(type='PackInputs')]
    )
    preprocessor = dict(preprocessor, mean=[1.0, 2.0, 3.0], std=[90.0] * 3)
    cfg.data_preprocessor = cfg.model.data_preprocessor = preprocessor
    for part in (cfg.model.architecture, cfg.model.teacher):
        part.backbone.in_channels = 3
    SimplifierVisualizationHook().before_train(Runner.from_cfg(cfg))
    assert len(drawn) == 4
    for i, image in enumerate(drawn):
        assert np.array_equal(image, picture(i))


def test_images_of_real_numbers_are_drawn_from_black_to_white():
    """As of a data set that normalizes them, whatever their range."""
    image = torch.linspace(-2, 3, 12).view(1, 3, 4)
    (drawn,) = _get_images([image], nn.Module())
    assert drawn.shape == (3, 4)
    assert drawn.flatten().tolist() == [255 * i // 11 for i in range(12)]


def test_among_classes_the_mean_of_the_drawn_samples_is_drawn(monkeypatch):
    """For at most 16 classes, the likeliest, in the order of their names."""
    drawn = []
    monkeypatch.setattr(simplification, '_draw_attention', lambda ax, *a: drawn.append(a[:2]))
    scores = np.random.default_rng(0).dirichlet(np.linspace(2, 0.1, 20), size=3)
    attention = np.random.default_rng(1).dirichlet(np.ones(20), size=(3, 20))
    sure = int(np.argmin(-(scores * np.log(scores)).sum(axis=1)))
    draw_simplification(
        [np.zeros((8, 8), dtype=np.uint8)] * 3,
        [0, 1, 2],
        [f'class {c}' for c in range(20)],
        dict(teacher=scores, simplified=scores, student=scores),
        attention,
        'Epoch 1',
        num_samples=2,
    )
    ((weights, names),) = drawn
    shown = [int(name.split()[1]) for name in names]
    others = [i for i in range(3) if i != sure]
    likely = scores[others].mean(axis=0)
    assert len(shown) == 16
    assert min(likely[shown]) > max(np.delete(likely, shown))
    expected = attention[others].mean(axis=0)
    assert np.allclose(weights, [[expected[i, j] for j in shown] for i in shown])


def test_among_samples_a_row_is_an_image_and_a_column_whom_it_attends_to(monkeypatch):
    """In the order of the classes of the images, which is not that of the batch."""
    shown = []
    draw = Axes.imshow
    monkeypatch.setattr(
        Axes, 'imshow', lambda ax, *a, **k: (shown.append((ax, a[0])), draw(ax, *a, **k))[1]
    )
    scores = np.random.default_rng(0).dirichlet(np.ones(3), size=3)
    attention = np.random.default_rng(1).dirichlet(np.ones(3), size=3)
    draw_simplification(
        [np.zeros((8, 8), dtype=np.uint8)] * 3,
        [2, 0, 1],
        ['cat', 'dog', 'emu'],
        dict(teacher=scores, simplified=scores, student=scores),
        attention,
        'Epoch 1',
    )
    ax, weights = shown[-1]
    order = [1, 2, 0]
    assert np.allclose(weights, [[attention[i, j] for j in order] for i in order])
    for labels in (ax.get_xticklabels(), ax.get_yticklabels()):
        assert [label.get_text() for label in labels] == ['cat', 'dog', 'emu']


@pytest.mark.parametrize('tokens', ['samples', 'classes'])
def test_the_attention_of_either_kind_of_token_is_drawn(monkeypatch, tmp_path, tokens):
    drawn = []
    draw = simplification._draw_attention
    monkeypatch.setattr(
        simplification, '_draw_attention', lambda *a: (drawn.append(a[1:3]), draw(*a))
    )
    simplifier = {'model.distiller.simplifier.attend_over': tokens}
    train(tmp_path, **options(dict(HOOK, batch_size=8, interval=2), **simplifier))
    *_, (weights, names) = drawn
    number = dict(samples=8, classes=10)[tokens]
    assert weights.shape == (number, number)
    assert len(names) == number
    assert np.allclose(weights.sum(axis=1), 1)


@pytest.mark.parametrize(
    'attention',
    [None, np.eye(3), np.tile(np.eye(2), (3, 1, 1))],
    ids=['none', 'samples', 'classes'],
)
def test_coloured_images_and_long_names_are_drawn(attention):
    scores = np.full((3, 2), 0.5)
    picture = draw_simplification(
        [np.full((20, 30, 3), (200, 10, 10), dtype=np.uint8)] * 3,
        [0, 1, 1],
        ['black-footed ferret, ferret, Mustela nigripes', 'cat'],
        dict(teacher=scores, simplified=scores, student=scores),
        attention,
        'Epoch 1',
        num_samples=2,
    )
    assert picture.dtype == np.uint8
    assert (picture == (200, 10, 10)).all(axis=-1).mean() > 0.01, 'in RGB'


@pytest.mark.parametrize(
    ('attention', 'title'),
    [
        (np.eye(3), 'Attention of each image (row) to the others'),
        (np.tile(np.eye(2), (3, 1, 1)), 'Mean attention of each class (row) to the others'),
    ],
)
def test_the_title_says_what_attends(monkeypatch, attention, title):
    titles, set_title = [], Axes.set_title
    monkeypatch.setattr(
        Axes, 'set_title', lambda ax, text, **kw: (titles.append(text), set_title(ax, text, **kw))
    )
    scores = np.full((3, 2), 0.5)
    draw_simplification(
        [np.zeros((8, 8), dtype=np.uint8)] * 3,
        [0, 1, 1],
        ['dog', 'cat'],
        dict(teacher=scores, simplified=scores, student=scores),
        attention,
        'Epoch 1',
    )
    assert titles[-1] == title


def test_a_distiller_without_a_simplifier_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"model\.distiller='ConfigurableDistiller', expected an"):
        train(tmp_path, KD, custom_hooks=[HOOK])


def test_a_run_without_validation_is_named(tmp_path):
    cfg = digits(tmp_path, custom_hooks=[HOOK])
    cfg.update(val_dataloader=None, val_cfg=None, val_evaluator=None)
    with pytest.raises(ValueError, match=r'val_dataloader=None, expected images to draw'):
        Runner.from_cfg(cfg).train()


@pytest.mark.parametrize('key', ['interval', 'batch_size', 'num_samples', 'num_classes'])
def test_an_argument_that_counts_nothing_is_named(key):
    with pytest.raises(ValueError, match=f'SimplifierVisualizationHook: {key}=0, expected an int'):
        SimplifierVisualizationHook(**{key: 0})
