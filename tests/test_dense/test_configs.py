"""Configs for segmentation and detection, mmrazor's and ours, with the real packages.

The rest of mmrazor's is in docs/compatibility.md, by the script that is used here.
"""

import functools

import pytest
import torch
from mmengine.config import Config

from benchmarks.compatibility.run_dense_configs import build, drop_weights, load, step
from skd_mmrazor.models import LogSpaceBinaryKLDivergence
from skd_mmrazor.models.distillers.pyramids import get_loss

from ..conftest import ROOT

for package in ('mmcv.ops', 'mmseg', 'mmdet', 'mmdet3d'):
    pytest.importorskip(package, exc_type=ImportError)

pytestmark = pytest.mark.dense

PSPNET = 'mmseg/cwd/cwd_logits_pspnet_r101-d8_pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py'
RETINA = 'mmdet/cwd/cwd_fpn_retina_r101_retina_r50_1x_coco.py'
FASTER_RCNN = 'mmdet/fbkd/fbkd_fpn_faster-rcnn_r101_faster-rcnn_r50_1x_coco.py'
FCOS3D = 'mmdet3d/pkd/pkd_fpn_fcos3d_r101_fcos3d_r50_8xb2-1x_nus-mono3d.py'
OWN = sorted(
    path.relative_to(ROOT / 'configs')
    for folder in ('segmentation', 'detection')
    for path in (ROOT / 'configs' / folder).glob('*.py')
)


def load_own(path):
    cfg = Config.fromfile(ROOT / 'configs' / path)
    assert cfg.model.teacher_ckpt.startswith('https://')
    drop_weights(cfg.model)
    return cfg


@functools.cache
def without_skd(path):
    """The losses of the first step of a config of ours, or of mmrazor's."""
    package = 'mmseg' if path == PSPNET or 'segmentation' in path.parts else 'mmdet'
    losses, _ = first_losses(load(path) if path == PSPNET else load_own(path), package)
    return {key: value.detach() for key, value in losses.items()}


def first_losses(cfg, package):
    """The losses of the first step of a config, and its model after it."""
    torch.manual_seed(0)
    model = build(cfg)
    torch.manual_seed(1)
    losses = {k: v for k, v in step(model, package).items() if 'loss' in k.split('.')[-1]}
    return losses, model


@pytest.mark.parametrize(
    ('name', 'source'),
    [
        (FASTER_RCNN, 'rpn_head.rpn_cls'),
        (FCOS3D, 'bbox_head.conv_cls'),
        (PSPNET, 'decode_head.conv_seg'),
        (RETINA, 'bbox_head.retina_cls'),
    ],
)
def test_a_config_of_mmrazor_trains_with_skd(name, source):
    package = name.split('/')[0]
    cfg = load(name, skd=True, runs_head=True)
    # Without the schedule, and λ at 0, the other losses and CWD's are the config's own.
    cfg.model.distiller.simplifier.start_factor = 1.0
    losses, model = first_losses(cfg, package)
    mappings = model.distiller.loss_forward_mappings
    (record,) = (m['preds_T'] for m in mappings.values() if m.get('preds_T', {}).get('simplify'))
    recorders = model.distiller.teacher_recorders.recorders
    assert recorders[record['recorder']].source == source
    assert model.distiller.simplifier.lam_logit.item() != 0  # It has trained.
    plain, _ = first_losses(load(name, runs_head=True), package)
    assert plain.keys() - losses.keys() == set()
    for key in plain.keys() - {'loss'}:
        torch.testing.assert_close(losses[key], plain[key], rtol=1e-5, atol=1e-6)


def test_the_losses_of_a_detector_are_of_its_scores():
    """As mmdetection itself puts the scores of all levels in rows."""
    losses, model = first_losses(load(RETINA, skd=True, runs_head=True), 'mmdet')
    assert isinstance(get_loss(model.distiller, 'loss_skd'), LogSpaceBinaryKLDivergence)
    rows = {}
    for side in ('student', 'teacher'):
        recorder = getattr(model.distiller, f'{side}_recorders').recorders['loss_skd']
        scores = [level.permute(0, 2, 3, 1).reshape(-1, 80) for level in recorder.data_buffer]
        rows[side] = torch.cat(scores).double().detach()
    p, q = rows['teacher'].sigmoid(), rows['student'].sigmoid()
    expected = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).sum(dim=1).mean()
    torch.testing.assert_close(losses['distill.loss_skd'].double(), expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ('name', 'options', 'message'),
    [
        (RETINA, {}, 'FpnTeacherDistill does not run the head, SingleTeacherDistill does'),
        ('mmdet/pkd/pkd_fpn_fcos_x101_retina_r50_1x_coco.py', {}, 'logits of one width'),
        ('mmdet/pkd/pkd_fpn_mask-rcnn_swin_retina_r50_2x_coco.py', {}, 'logits of one width'),
        (
            FASTER_RCNN,
            dict(logits_module='roi_head.bbox_head.fc_cls'),
            'logits of locations that both models share',
        ),
    ],
)
def test_what_has_no_common_logits_is_refused(name, options, message):
    cfg = load(name, skd=True)
    cfg.model.distiller.update(options)
    with pytest.raises(ValueError, match=message):
        step(build(cfg), 'mmdet')


@pytest.mark.parametrize(
    ('name', 'source'),
    [
        ('ocrnet/ocrnet_hr18s_4xb2-40k_cityscapes-512x1024.py', 'decode_head.1.conv_seg'),
        # The last head is of sampled points.
        ('point_rend/pointrend_r50_4xb2-80k_cityscapes-512x1024.py', 'decode_head.0.conv_seg'),
    ],
)
def test_a_cascade_distils_the_map_that_it_predicts(name, source):
    cfg = load(PSPNET, skd=True)
    for part in ('architecture', 'teacher'):
        cfg.model[part].cfg_path = f'mmseg::{name}'
    cfg.model.distiller = {key: cfg.model.distiller[key] for key in ('type', 'simplifier')}
    losses, model = first_losses(cfg, 'mmseg')
    assert model.distiller.teacher_recorders.recorders['loss_skd'].source == source
    assert losses['distill.loss_skd'] > 0
    assert model.distiller.simplifier.lam_logit.item() != 0  # It has trained.


@pytest.mark.parametrize('path', OWN, ids=str)
def test_our_config_steps_and_starts_as_its_twin(path):
    if not path.name.startswith('skd_'):
        assert without_skd(path)
        return
    package = 'mmseg' if 'segmentation' in path.parts else 'mmdet'
    cfg = load_own(path)
    cfg.model.distiller.simplifier.start_factor = 1.0
    losses, model = first_losses(cfg, package)
    assert model.distiller.simplifier.lam_logit.item() != 0  # It has trained.
    twin = path.with_name(path.name.replace('skd_cwd', 'cwd-kd' if package == 'mmdet' else 'cwd'))
    for key, value in without_skd(twin if twin in OWN else PSPNET).items():
        torch.testing.assert_close(losses[key], value, rtol=1e-5, atol=1e-6)
