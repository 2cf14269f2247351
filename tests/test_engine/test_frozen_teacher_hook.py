import re
from collections import Counter

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import HOOKS, MODELS
from mmengine.runner import Runner
from mmpretrain.models import ImageClassifier
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._python_dispatch import TorchDispatchMode

from skd_mmrazor.engine import FrozenTeacherHook

from ..conftest import algorithm, distiller
from .runs import KL, difference, loader, logged, run_config, student, teacher, weights

OFF = dict(fold_bn=False, skip_loss=False)
EAGER = dict(backend='aot_eager')
PARTS = {
    'fold_bn': dict(OFF, fold_bn=True),
    'skip_loss': dict(OFF, skip_loss=True),
    'channels_last': dict(OFF, channels_last=True),
    'compile': dict(OFF, compile=EAGER),
    'dtype': dict(OFF, dtype='bfloat16'),
    'all': dict(channels_last=True, dtype='bfloat16', compile=EAGER),
}
VALIDATION = dict(
    train_cfg=dict(by_epoch=False, max_iters=2, val_interval=2),
    val_dataloader=loader('val', 16, 8),
    val_evaluator=dict(type='Accuracy', topk=(1,)),
    val_cfg=dict(type='mmrazor.SingleTeacherDistillValLoop'),
)
DATA = dict(type='mmpretrain.ClsDataPreprocessor', num_classes=10, mean=[78.4], std=[96.1])


class TrainedNorms(Hook):
    """Gives the teacher the batch norms of a trained one, and keeps its copy."""

    priority = 'VERY_HIGH'

    def before_train(self, runner):
        generator = torch.Generator(next(runner.model.parameters()).device).manual_seed(1)
        for name, module in runner.model.named_modules():
            norm = isinstance(module, _BatchNorm) and not runner._resume
            if norm and name.startswith('teacher.'):
                module.running_mean.normal_(std=0.2, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)

    def after_train_iter(self, runner, *args, **kwargs):
        self.frozen = next((h.frozen for h in runner.hooks if hasattr(h, 'frozen')), None)


def active(runner):
    """The parts that are in effect, observed in the copy."""
    frozen = runner.norms.frozen
    weight = frozen.module.backbone.layer1[0].conv1.weight
    seen = dict(
        fold_bn=not any(isinstance(m, _BatchNorm) for m in frozen.module.modules()),
        skip_loss=frozen.mode == 'tensor',
        channels_last=weight.is_contiguous(memory_format=torch.channels_last),
        dtype=weight.dtype is torch.bfloat16,
        compile=frozen._run is not frozen.module,
    )
    return {name for name, on in seen.items() if on}


def run(work_dir, hook=None, **settings):
    hooks = [] if hook is None else [dict(type='mmrazor.FrozenTeacherHook', **hook)]
    runner = Runner.from_cfg(run_config(work_dir, custom_hooks=hooks, **settings))
    runner.norms = TrainedNorms()
    runner.register_hook(runner.norms)
    runner.train()
    return runner


def model(losses=KL, teacher_recorders=(), deliveries=None, **arguments):
    cfg = distiller(losses, simplifier=dict(type='AttentionSimplifierConnector'))
    cfg['teacher_recorders'].update(teacher_recorders)
    cfg['distill_deliveries'] = deliveries
    arguments = dict(dict(architecture=student(), teacher=teacher()), **arguments)
    return dict(model=algorithm(cfg, data_preprocessor=DATA, **arguments))


def teacher_with_dropout():
    backbone = dict(
        type='VisionTransformer',
        arch=dict(embed_dims=16, num_layers=1, num_heads=2, feedforward_channels=16),
        img_size=8,
        patch_size=4,
        in_channels=1,
        drop_rate=0.5,
    )
    return dict(
        teacher(), backbone=backbone, neck=None, head=dict(teacher()['head'], in_channels=16)
    )


def teacher_of(conv):
    cfg = teacher()
    cfg['backbone'].update(conv_cfg=conv, norm_cfg=dict(type='BN'))
    return cfg


@MODELS.register_module()
class ScalingByNumPy(torch.nn.Conv2d):
    """Draws from another generator than torch's, in training mode alone."""

    def forward(self, images):
        found = super().forward(images)
        return found * np.random.uniform(0.5, 1.5) if self.training else found


@pytest.fixture(scope='module')
def plain(tmp_path_factory):
    return run(tmp_path_factory.mktemp('plain'))


def by_speed():
    slow = pytest.mark.slow
    return [pytest.param(p, marks=slow if 'compile' in PARTS[p] else ()) for p in PARTS]


@pytest.mark.parametrize('part', by_speed())
def test_the_student_learns_the_same_to_rounding(tmp_path, plain, part):
    torch._dynamo.reset()
    runner = run(tmp_path, PARTS[part])
    assert active(runner) == (set(PARTS) - {'all'} if part == 'all' else {part})
    half = 'dtype' in PARTS[part]
    for key in ('student.loss', 'distill.loss_kl', 'distill.teacher_entropy', 'loss'):
        tolerance = 0.1 if half else 1e-4
        assert logged(runner, key) == pytest.approx(logged(plain, key), rel=tolerance), key
    assert difference(weights(runner.model), weights(plain.model)) < (1e-2 if half else 1e-5)


def test_the_teacher_is_saved_and_loaded_as_without_the_hook(tmp_path, plain):
    """Two iterations with the hook, two more with it or without: as four without."""
    everything = dict(channels_last=True, dtype='bfloat16')
    first = run(tmp_path / 'first', everything, iters=2)
    assert 'forward' not in vars(first.model.teacher)
    for hook in (everything, None):
        runner = run(
            tmp_path / f'resumed {hook is None}',
            hook,
            resume=True,
            load_from=str(tmp_path / 'first' / 'iter_2.pth'),
        )
        assert logged(runner, 'loss') == pytest.approx(logged(plain, 'loss')[2:], rel=0.1)
        ours, theirs = (torch.load(f'{r.work_dir}/iter_4.pth') for r in (runner, plain))
        assert list(ours['state_dict']) == list(theirs['state_dict'])
        for key, value in theirs['state_dict'].items():
            if key.startswith('teacher.'):
                assert torch.equal(ours['state_dict'][key], value), key


def test_validation_runs_the_teacher_itself(tmp_path, monkeypatch):
    """In its own precision, with all its norms."""
    seen = []
    predict = ImageClassifier.predict

    def watch(self, *args, **kwargs):
        seen.append(self)
        return predict(self, *args, **kwargs)

    monkeypatch.setattr(ImageClassifier, 'predict', watch)
    runner = run(tmp_path, dict(dtype='bfloat16'), **VALIDATION)
    assert seen.count(runner.model.teacher) == 2
    assert set(map(id, seen)) == {id(runner.model.teacher), id(runner.model.student)}


def test_dropout_stays_on_unless_it_is_switched_off(tmp_path):
    hooks = dict(
        plain=None,
        same={},
        off=dict(eval_mode=True),
        parts=dict(eval_mode=True, channels_last=True),
    )
    settings = model(teacher=teacher_with_dropout())
    losses = {
        name: logged(run(tmp_path / name, hook, **settings), 'distill.loss_kl')
        for name, hook in hooks.items()
    }
    assert losses['same'] == pytest.approx(losses['plain'], rel=1e-5)
    assert losses['off'][0] != pytest.approx(losses['plain'][0], rel=1e-2)
    assert losses['parts'] == pytest.approx(losses['off'], rel=1e-4)


LABELS = dict(labels=dict(type='ModuleInputs', source='head.loss_module'))
DELIVERIES = dict(
    mix=dict(
        type='MethodOutputs',
        max_keep_data=1,
        method_path='mmpretrain.models.heads.LinearClsHead.pre_logits',
    )
)
REFUSED = [
    ({}, dict(teacher_trainable=True), 'model.teacher_trainable=True, expected False'),
    ({}, dict(teacher_norm_eval=False), 'model.teacher_norm_eval=False, expected True'),
    ({}, dict(teacher_recorders=LABELS), r'skip_loss=True, expected .*teacher_recorders.labels'),
    ({}, dict(deliveries=DELIVERIES), r"skip_loss=True, expected False .*\['mix'\]"),
    (dict(OFF, compile=EAGER), dict(deliveries=DELIVERIES), r"compile=\{.*'mix'"),
    *(
        (
            dict(OFF, **{key: value}),
            dict(teacher=drawing),
            f'{key}={value!r}, expected eval_mode=True beside it',
        )
        for drawing in (teacher_with_dropout(), teacher_of(dict(type='ScalingByNumPy')))
        for key, value in (('channels_last', True), ('dtype', 'float16'), ('compile', EAGER))
    ),
]


@pytest.mark.parametrize(('hook', 'arguments', 'message'), REFUSED, ids=lambda v: '')
def test_what_would_change_the_records_is_refused(tmp_path, hook, arguments, message):
    with pytest.raises(ValueError, match=f'FrozenTeacherHook: {message}'):
        run(tmp_path, hook, **model(**arguments))


@MODELS.register_module()
class ScalingConv2d(torch.nn.Conv2d):
    """Scales its output with the bias, which folding does not account for."""

    def __init__(self, *args, scale, **kwargs):
        super().__init__(*args, **kwargs)
        self.scale = scale

    def forward(self, images):
        return self.scale * super().forward(images)


@pytest.mark.parametrize('scale', [1.1, 0.9])
def test_a_folding_that_is_a_little_wrong_is_refused(tmp_path, scale):
    """By a few percent, which nobody would notice in a training."""
    scaling = model(teacher=teacher_of(dict(type='ScalingConv2d', scale=scale)))
    with pytest.raises(ValueError, match=r'fold_bn=True, expected that .*difference is') as found:
        run(tmp_path / 'a', dict(OFF, fold_bn=True), **scaling)
    error = float(re.search(r'difference is (\S+?)\.?$', str(found.value))[1])
    assert 0.01 < error < 0.1
    run(tmp_path / 'b', OFF, **scaling)
    sound = model(teacher=teacher_of(dict(type='ScalingConv2d', scale=1.0)))
    assert active(run(tmp_path / 'c', dict(OFF, fold_bn=True), **sound)) == {'fold_bn'}


@HOOKS.register_module()
class CommonMode(Hook):
    """Gives the teacher large features with small differences, on which its logits depend."""

    priority = 'VERY_HIGH'

    def before_train(self, runner):
        fc = runner.model.teacher.head.fc
        runner.model.teacher.backbone.layer2[-1].bn2.bias.data.fill_(100.0)
        with torch.no_grad():
            fc.weight -= fc.weight.mean(dim=1, keepdim=True)


def test_a_precision_that_loses_the_logits_is_refused(tmp_path):
    hooks = [dict(type='CommonMode')]
    lossy = [*hooks, dict(type='mmrazor.FrozenTeacherHook', **OFF, dtype='bfloat16')]
    Runner.from_cfg(run_config(tmp_path / 'a', custom_hooks=hooks)).train()
    with pytest.raises(ValueError, match=r"dtype='bfloat16', expected that .* to 0\.1 of its"):
        Runner.from_cfg(run_config(tmp_path / 'b', custom_hooks=lossy)).train()


class Operators(TorchDispatchMode):
    """Counts what is computed, by operator."""

    def __init__(self):
        super().__init__()
        self.calls = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls[func.overloadpacket._qualified_op_name.split('::')[1]] += 1
        return func(*args, **(kwargs or {}))


class CountLast(Hook):
    """Counts the operators of the last iteration, when the teacher is prepared."""

    priority = 'LOWEST'

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 3:
            self.mode = Operators()
            self.mode.__enter__()

    def after_train_iter(self, runner, *args, **kwargs):
        if runner.iter == 3:
            self.mode.__exit__(None, None, None)


def count(work_dir, hook):
    hooks = [] if hook is None else [dict(type='mmrazor.FrozenTeacherHook', **hook)]
    runner = Runner.from_cfg(run_config(work_dir, custom_hooks=hooks))
    last = CountLast()
    runner.register_hook(last)
    runner.train()
    return last.mode.calls


def test_the_teacher_computes_less_with_the_hook(tmp_path):
    """What the hook is for: no batch norm of its own, and one loss, the student's."""
    plain, spared = count(tmp_path / 'plain', None), count(tmp_path / 'spared', {})

    def norms(calls):
        return sum(number for name, number in calls.items() if 'batch_norm' in name)

    assert norms(plain) > 5
    assert norms(spared) == 0
    assert plain['nll_loss_forward'] == 2
    assert spared['nll_loss_forward'] == 1
    assert plain['convolution'] == spared['convolution'] > 10


def test_a_record_of_the_loss_is_kept_where_the_loss_is(tmp_path):
    settings = model(teacher_recorders=LABELS)
    kept = run(tmp_path, dict(skip_loss=False), **settings)
    assert active(kept) == {'fold_bn'}


def test_the_options_of_compile_are_those_of_torch(tmp_path):
    with pytest.raises(RuntimeError, match="Invalid backend: 'of_nobody'"):
        run(tmp_path, dict(OFF, compile=dict(backend='of_nobody')))


def test_wrappers_of_distributed_training_are_known_or_refused(tmp_path):
    runner = Runner.from_cfg(run_config(tmp_path))
    whole = runner.model
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group('gloo', store=store, rank=0, world_size=1)
    runner.model = MMDistributedDataParallel(whole)
    torch.distributed.destroy_process_group()
    FrozenTeacherHook().before_train(runner)
    runner.model = torch.nn.DataParallel(whole)
    with pytest.raises(ValueError, match="model wrapper='DataParallel', expected none, or Distr"):
        FrozenTeacherHook().before_train(runner)


def test_another_algorithm_is_refused(tmp_path):
    cfg = dict(student(), data_preprocessor=DATA)
    with pytest.raises(ValueError, match=r"model.type='ImageClassifier', expected 'SingleTeacher"):
        run(tmp_path, {}, model=cfg)


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('fold_bn', 1),
        ('skip_loss', None),
        ('channels_last', 'yes'),
        ('eval_mode', 0),
        ('dtype', 'float32'),
        ('dtype', 16),
        ('compile', 'max-autotune'),
    ],
)
def test_bad_arguments_are_named(key, value):
    with pytest.raises(ValueError, match=f'FrozenTeacherHook: {key}={value!r}, expected'):
        FrozenTeacherHook(**{key: value})
