"""From pictures in COCO's and Cityscapes' formats to a student, by the tools."""

import copy
import re
import signal

import pytest
import torch
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import DefaultScope
from mmrazor.registry import MODELS

from benchmarks.compatibility.tiny_shapes import SHAPES, make_cityscapes, make_coco

from ..conftest import ROOT, run_python
from ..test_tools.test_train import in_two_processes

for package in ('mmcv.ops', 'mmseg', 'mmdet'):
    pytest.importorskip(package, exc_type=ImportError)

pytestmark = pytest.mark.dense

CONFIGS = ROOT / 'configs'
RETINA = CONFIGS / 'detection' / 'skd_cwd_fpn_retina_r101_retina_r50_1x_coco.py'
(PSPNET,) = (CONFIGS / 'segmentation').glob('skd_*cityscapes*.py')
CONVERTER = ROOT / 'tools' / 'model_converters' / 'convert_kd_ckpt_to_student.py'


def replace(node, entries):
    """Replaces entries of a config by name, at any depth."""
    for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
        if key in entries:
            node[key] = entries[key]
        elif isinstance(value, (dict, list)):
            replace(value, entries)


def detection(root, images=8):
    """RetinaNets of ResNet-18, an eighth as wide; shapes of three classes."""
    make_coco(root, images)
    cfg = Config.fromfile(RETINA)
    student = get_config('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py').model
    student.backbone = dict(type='ResNet', depth=18, base_channels=8, stem_channels=8)
    student.neck.update(in_channels=[8, 16, 32, 64], out_channels=16)
    student.bbox_head.update(num_classes=3, in_channels=16, feat_channels=16, stacked_convs=1)
    student.test_cfg.score_thr = 0.0  # Few steps find little.
    replace(cfg._cfg_dict, dict(scale=(96, 96), persistent_workers=False, num_workers=0))
    for split in ('train', 'val', 'test'):
        cfg[f'{split}_dataloader'].dataset.update(
            data_root=f'{root}/', metainfo=dict(classes=SHAPES)
        )
    for split in ('val', 'test'):
        cfg[f'{split}_evaluator'].ann_file = f'{root}/annotations/instances_val2017.json'
    cfg.optim_wrapper.optimizer.lr = 1e-3
    return distil_itself(cfg, student, 'mmdet')


def segmentation(root, images=8):
    """PSPNets of ResNet-18, an eighth as wide; shapes as cars, persons and sky."""
    make_cityscapes(root, images)
    cfg = Config.fromfile(PSPNET)
    student = get_config('mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py').model
    student.pretrained = None
    student.backbone.update(base_channels=8, stem_channels=8)
    student.decode_head.update(in_channels=64, channels=16)
    student.auxiliary_head.update(in_channels=32, channels=8)
    sizes = dict(scale=(128, 64), crop_size=(64, 128), size=(64, 128))
    replace(student, dict(sizes, norm_cfg=dict(type='BN', requires_grad=True)))
    replace(cfg._cfg_dict, dict(sizes, persistent_workers=False, num_workers=0))
    for split in ('train', 'val', 'test'):
        cfg[f'{split}_dataloader'].dataset.data_root = str(root)
    cfg.train_cfg.val_interval = cfg.default_hooks.checkpoint.interval = 3
    hook = dict(type='mmrazor.SimplifierVisualizationHook', interval=3, batch_size=2)
    cfg.custom_hooks = [hook]
    return distil_itself(cfg, student, 'mmseg')


def distil_itself(cfg, student, scope):
    """Puts a small network in the place of the student and of the teacher."""
    cfg.model.architecture = dict(student, _scope_=scope)
    cfg.model.teacher = dict(student, _scope_=scope)
    cfg.model.teacher_ckpt = None
    cfg.param_scheduler = None
    cfg.default_hooks.logger.interval = 1
    cfg.custom_imports.imports += ['tests.kill_hook', 'tests.test_tools.save_ranks']
    return cfg


def dump(cfg, folder, length, *hooks):
    """Writes a config of some epochs or iterations, with further hooks."""
    cfg = copy.deepcopy(cfg)
    cfg.train_cfg['max_iters' if 'max_iters' in cfg.train_cfg else 'max_epochs'] = length
    cfg.custom_hooks = [*cfg.get('custom_hooks', []), *hooks]
    cfg.dump(folder / 'config.py')


def train(folder, *arguments, **options):
    tool = ROOT / 'tools' / 'train.py'
    paths = (tool, folder / 'config.py', '--work-dir', folder / 'run')
    return run_python(*paths, *arguments, **options)


def build_student(cfg, checkpoint):
    """The student of a distillation, as it was saved."""
    with DefaultScope.overwrite_default_scope('mmrazor'):
        model = MODELS.build(cfg.model)
    model.load_state_dict(torch.load(checkpoint, weights_only=False)['state_dict'])
    return model.student.eval()


@pytest.mark.parametrize(
    ('make', 'length', 'killed', 'first', 'last', 'metric'),
    [
        (detection, 2, (2, 2), 'epoch: 1, iter: 4', 'epoch_2', 'coco/bbox_mAP'),
        # All of its iterations are one epoch.
        (segmentation, 6, (1, 5), 'epoch: 0, iter: 3', 'iter_6', 'mIoU'),
    ],
)
def test_trains_validates_is_killed_resumes_and_leaves_a_student(
    tmp_path, make, length, killed, first, last, metric
):
    cfg = make(tmp_path / 'data')
    epoch, iteration = killed
    dump(cfg, tmp_path, length, dict(type='KillHook', epoch=epoch, iteration=iteration))
    output = train(tmp_path, returncode=-signal.SIGKILL)
    losses = re.findall(r'distill\.loss_\w+: ([\d.]+|nan|inf)', output)
    assert losses
    assert all(float(loss) < 1e6 for loss in losses)
    for prefix in ('', r'teacher\.'):
        assert re.search(rf'\(val\).* {prefix}{metric}: -?\d', output), output[-3000:]

    drawn = [path.name for path in tmp_path.glob('run/*/vis_data/vis_image/*.png')]
    assert drawn == ['simplification_3.png'] * (make is segmentation)

    dump(cfg, tmp_path, length)
    assert f'resumed {first}' in train(tmp_path, '--resume')
    checkpoint = tmp_path / 'run' / f'{last}.pth'
    run_python(CONVERTER, tmp_path / 'config.py', checkpoint, '--out-path', tmp_path / 'student')
    (pth,) = (tmp_path / 'student').glob('*.pth')
    config = pth.with_suffix('.py')
    assert 'razor' not in config.read_text()
    if make is detection:
        from mmdet.apis import inference_detector as infer
        from mmdet.apis import init_detector as init
    else:
        from mmseg.apis import inference_model as infer
        from mmseg.apis import init_model as init
    exported = init(str(config), str(pth), device='cpu')
    student = build_student(cfg, checkpoint)
    images = torch.randn(1, 3, 64, 128)
    with torch.no_grad():
        found, expected = (model(images, mode='tensor') for model in (exported, student))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    picture = next(path for path in (tmp_path / 'data').rglob('*.[jp][pn]g'))
    assert infer(exported, str(picture))


def test_two_processes_train_one_student(tmp_path):
    dump(detection(tmp_path / 'data'), tmp_path, 1, dict(type='SaveRanks'))
    run = tmp_path / 'run'
    output = in_two_processes('dist_train.sh', tmp_path / 'config.py', 2, '--work-dir', run)
    for prefix in ('', r'teacher\.'):
        assert re.search(rf'\(val\).* {prefix}coco/bbox_mAP: -?\d', output), output[-3000:]
    saved = torch.load(run / 'epoch_1.pth', weights_only=False)['state_dict']
    assert saved['distiller.simplifier.lam_logit'] != 0
    for rank in (0, 1):
        weights = torch.load(run / f'rank{rank}.pth')
        assert [key for key in saved if not torch.equal(saved[key], weights[key])] == []
