"""Heads of segmentors: maps of different strides, a sigmoid, ``channels_last``."""

import re

import pytest
import torch
from mmrazor.models.losses import ChannelWiseDivergence
from mmrazor.registry import MODELS

from skd_mmrazor.models import LogSpaceBinaryKLDivergence

from .dense_models import NOTHING, Segmentor, build, cwd, step


@pytest.mark.parametrize(('student', 'teacher'), [(1, 2), (2, 1)])
def test_maps_of_different_strides_are_told_the_connector(student, teacher):
    models = Segmentor(student), Segmentor(teacher)
    with pytest.raises(ValueError, match=r'loss_cwd: shapes of the logits=.* preds_T') as caught:
        step(build(*models, distiller=cwd()))
    assert 'into the config by another name' not in str(caught.value)  # It is there.
    (connectors,) = re.findall(r'connectors=(dict\(.*\)) and', str(caught.value))
    # It does what it says it does.
    step(build(*models, distiller=cwd(eval(connectors), connector='resize')))
    with pytest.raises(ValueError, match=r'loss_skd: shapes .* into the config by another name'):
        step(build(*models, distiller=NOTHING))
    step(build(models[0], models[0], distiller=NOTHING))


def test_a_module_that_runs_more_often_in_one_model_is_named():
    models = Segmentor(), Segmentor(calls=2)
    message = r"loss_cwd: records of a step=\{'teacher': 2, 'student': 1\}.*record_idx"
    with pytest.raises(ValueError, match=message):
        step(build(*models, distiller=cwd()))
    step(build(*models, distiller=cwd(record_idx=1)))


def test_a_divergence_of_maps_that_detaches_is_refused_when_built():
    @MODELS.register_module(name='DetachingCWD', force=True)
    class DetachingCWD(ChannelWiseDivergence):
        def forward(self, preds_S, preds_T):
            return super().forward(preds_S, preds_T.detach())

    entries = dict(cwd(), distill_losses=dict(loss_cwd=dict(type='DetachingCWD')))
    with pytest.raises(ValueError, match=r'loss_cwd: gradient of DetachingCWD to its preds_T='):
        build(
            Segmentor(), Segmentor(), distiller=entries, simplified_losses=dict(loss_cwd='preds_T')
        )


def test_a_sigmoid_of_a_segmentor_is_seen():
    models = [Segmentor(use_sigmoid=True) for _ in range(2)]
    model = build(*models, distiller=NOTHING)
    assert isinstance(model.distiller.distill_losses['loss_skd'], LogSpaceBinaryKLDivergence)
    assert model.distiller.simplifier.softening == 'scale'
    step(model)
    resize = dict(type='TorchFunctionalConnector', function_name='interpolate')
    resize = dict(resize=dict(resize, func_args=dict(size=(8, 8))))
    # A connector without layers changes nothing of what the logits are.
    for distiller in (NOTHING, cwd(resize, connector='resize')):
        with pytest.raises(ValueError, match=r"use_sigmoid of the heads=\{'teacher': True, 'stu"):
            build(Segmentor(), models[0], distiller=distiller)
    step(build(*models, distiller=cwd(resize, connector='resize')))
    entries = cwd(resize, connector='resize')
    del entries['loss_forward_mappings']['loss_cwd']['preds_S']['record_idx']
    several = Segmentor(calls=2), Segmentor(calls=1)
    with pytest.raises(ValueError, match=r"records of a step=\{'teacher': 1, 'student': 2\}"):
        step(build(*several, distiller=entries))
    one = [Segmentor(num_classes=2, out_channels=1, use_sigmoid=True) for _ in range(2)]
    with pytest.raises(ValueError, match=r'num_classes=1, expected two at least'):
        build(*one, distiller=NOTHING)


def test_maps_in_channels_last_are_distilled():
    """As SegFormer's head gives them; mmrazor's CWD takes views."""
    models = [Segmentor().to(memory_format=torch.channels_last) for _ in range(2)]
    images = torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last)
    model = build(*models, distiller=cwd())
    plain = build(*models, distiller=cwd())
    last = model(images, mode='loss')['distill.loss_cwd']
    torch.testing.assert_close(
        last, plain(images.contiguous(), mode='loss')['distill.loss_cwd'], rtol=1e-4, atol=1e-6
    )
