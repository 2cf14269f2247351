"""Pictures show the images, the labels and the targets that the losses receive."""

import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset, pseudo_collate
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS
from mmpretrain.structures import DataSample
from torch import nn

from skd_mmrazor import visualization
from skd_mmrazor.engine.hooks import SimplifierVisualizationHook
from skd_mmrazor.engine.hooks.simplifier_visualization_hook import _get_images
from skd_mmrazor.visualization import draw_simplification, simplification

from ..digits_runs import digits, train
from .pictures import HOOK, options


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
