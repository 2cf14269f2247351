"""Every classification config that mmrazor installs, as it is and with SKD."""

import pytest
import torch

from benchmarks.compatibility.run_configs import CONFIGS, drop_validation, load, make_data, train

from .conftest import run_python

pytestmark = pytest.mark.slow

REFUSED = {
    'deit/deit-base_regnety160_pt-16xb64_in1k.py': r'CrossEntropyLoss .* its argmax',
    'factor_transfer/factor-transfer_backbone_resnet50_resnet18_8xb16_cifar10_pretrain.py': (
        "expected a loss with 'from_student=True'"
    ),
}
# One of each algorithm, of those that train if any does; the others train at night.
_TRAINING = [name for name in reversed(CONFIGS) if name not in REFUSED]
ONE_OF_EACH = {name.split('/')[0]: name for name in (*REFUSED, *_TRAINING)}
DATA_FREE = [name for name in CONFIGS if name.split('/')[0] in ('dafl', 'dfad', 'zskt')]


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp('data'))


def history(runner):
    """The losses of each step."""
    scalars = runner.message_hub.log_scalars.items()
    return {
        k: torch.tensor(v.data[0]) for k, v in scalars if k.startswith('train/') and 'loss' in k
    }


def test_mmrazor_has_19_configs():
    assert len(CONFIGS) == 19


def find_pipeline(dataset):
    return dataset.pipeline if 'pipeline' in dataset else find_pipeline(dataset.dataset)


def load_for_steps(name, data, skd):
    """A config of small images whose first logged step is the student's first.

    ZSKT logs the last of ten, by when rounding errors have grown to a percent.
    """
    cfg = load(name, data, skd)
    for transform in find_pipeline(cfg.train_dataloader.dataset):
        if 'scale' in transform:
            transform.scale = 64
    cfg.default_hooks.checkpoint = None
    drop_validation(cfg)
    if name in DATA_FREE:
        cfg.model.student_iter = 1
    return cfg


@pytest.mark.parametrize(
    'name',
    [
        pytest.param(name, marks=() if name in ONE_OF_EACH.values() else pytest.mark.nightly)
        for name in CONFIGS
    ],
)
def test_trains_as_it_is_and_with_skd(name, data):
    plain = history(train(load_for_steps(name, data, skd=False)))
    assert plain
    assert all(values.isfinite().all() for values in plain.values())
    if name in REFUSED:
        with pytest.raises(ValueError, match=REFUSED[name]):
            train(load(name, data, skd=True))
        return

    gradients = {}

    def collect(runner):
        for key, parameter in runner.model.distiller.simplifier.named_parameters():
            gradients[key] = []
            parameter.register_hook(gradients[key].append)

    # Without the schedule, λ = 0 is where SKD is its base.
    cfg = load_for_steps(name, data, skd=True)
    cfg.model.distiller.simplifier.start_factor = 1
    runner = train(cfg, before=collect)
    for key, values in gradients.items():
        assert any(value.abs().max() > 0 for value in values), key
        assert all(value.isfinite().all() for value in values), key
    assert runner.model.distiller.simplifier.lam_logit != 0

    # λ starts at 0: the first step has the losses of the config without SKD and,
    # where no loss is added, its gradients, which the second step shows.
    skd = history(runner)
    added = 'train/distill.loss_skd' in skd
    for key in plain.keys() - ({'train/loss', 'train/distill.loss'} if added else set()):
        torch.testing.assert_close(skd[key][0], plain[key][0], rtol=1e-4, atol=1e-5)
    if not added and 'train/student.loss' in plain:
        key = 'train/student.loss'
        torch.testing.assert_close(skd[key], plain[key], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', DATA_FREE)
def test_a_generators_distiller_is_refused(name, data):
    cfg = load(name, data, skd=False)
    simplifier = dict(type='AttentionSimplifierConnector')
    cfg.model.generator_distiller.update(type='SKDDistiller', simplifier=simplifier)
    with pytest.raises(ValueError, match=r'not a generator|the distiller that trains the student'):
        train(cfg)


@pytest.mark.nightly
@pytest.mark.parametrize('name', [name for name in DATA_FREE if 'dafl' in name])
def test_two_processes_of_a_data_free_config_hold_the_same_simplifier(name, tmp_path, monkeypatch):
    """Each process generates images of its own."""
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
    run_python(
        *('-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2'),
        *('-m', 'tests.data_free_processes', name, tmp_path),
    )
    ours, theirs = (torch.load(tmp_path / f'{rank}.pth') for rank in (0, 1))
    assert ours['lam_logit'] != 0
    for key, value in ours.items():
        assert torch.equal(value, theirs[key]), key
