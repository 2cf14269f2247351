"""Pictures of a segmentor show maps in the colours of their classes."""

import numpy as np
import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmrazor.registry import MODELS
from torch import nn

from skd_mmrazor import visualization
from skd_mmrazor.engine.hooks import SimplifierVisualizationHook
from skd_mmrazor.visualization import draw_simplified_maps

from ..digits_runs import digits
from .pictures import options


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
