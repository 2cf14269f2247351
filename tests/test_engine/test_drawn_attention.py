"""Pictures show who attends to whom, among samples and among classes."""

import numpy as np
import pytest
from matplotlib.axes import Axes

from skd_mmrazor.visualization import draw_simplification, simplification

from ..digits_runs import train
from .pictures import HOOK, options


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
