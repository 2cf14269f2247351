"""With the safeguards, nothing in a checkpoint from elsewhere runs, and errors name the file.

Every hostile checkpoint is tried by each of the ways into a run.
"""

import pickle
import re
import zipfile

import pytest
import torch
from mmengine.runner import FlexibleRunner, Runner, load_checkpoint
from mmrazor.registry import MODELS

from .conftest import algorithm, classifier, distiller, run_python
from .digits_runs import digits
from .hostile_checkpoints import UNFITTING, UNREADABLE, rewrite, save


def runner(tmp_path, path, resume=False, model=None):
    return Runner(
        model=model or classifier(2),
        work_dir=str(tmp_path / 'work'),
        train_dataloader=torch.utils.data.DataLoader([0, 1]),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        load_from=str(path),
        resume=resume,
        default_scope='mmpretrain',
        experiment_name=f'{tmp_path.name}_{path.stem}',
        log_level='ERROR',
    )


def by_load_from(tmp_path, path):
    runner(tmp_path, path).load_or_resume()


def by_load_from_with_skd(tmp_path, path):
    """The simplifier fits since the model adds its own; the rest must still be refused."""
    runner(tmp_path, path, model=distillation()).load_or_resume()


def by_resume(tmp_path, path):
    runner(tmp_path, path, resume=True).load_or_resume()


def distillation():
    return algorithm(distiller({'loss_kl': dict(type='KLDivergence')}), teacher=classifier(2))


def by_teacher_ckpt(tmp_path, path):
    MODELS.build(dict(distillation(), teacher_ckpt=str(path)))


def by_pretrained(tmp_path, path):
    init_cfg = dict(type='Pretrained', checkpoint=str(path))
    MODELS.build(dict(classifier(2), init_cfg=init_cfg)).init_weights()


WAYS = [by_load_from, by_load_from_with_skd, by_resume, by_teacher_ckpt, by_pretrained]


@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('write', [*UNREADABLE, *UNFITTING])
def test_a_hostile_checkpoint_is_refused_by_name(tmp_path, write, way):
    path, marker = tmp_path / 'hostile.pth', tmp_path / 'pwned'
    write(path, marker)
    with pytest.raises((ValueError, pickle.UnpicklingError), match=re.escape(str(path))) as caught:
        way(tmp_path, path)
    assert 'expected' in str(caught.value)
    assert not marker.exists()


@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize(
    ('saved', 'found'),
    [
        ([1, 2], r'\[1, 2\]'),
        (dict(state_dict=5), '5'),
        (dict(state_dict={1: 2}), r'\{1: 2\}'),
        ({3: 4}, r'\{3: 4\}'),
    ],
)
def test_without_weights_by_name_the_file_is_named_and_what_it_has(tmp_path, saved, found, way):
    path = tmp_path / 'nameless.pth'
    torch.save(saved, path)
    match = rf'nameless\.pth. cannot be read, expected .*: {found} is no dict of weights by their'
    with pytest.raises(pickle.UnpicklingError, match=match):
        way(tmp_path, path)


@pytest.mark.parametrize('way', [by_load_from, by_teacher_ckpt, by_pretrained])
def test_a_sound_checkpoint_is_taken(tmp_path, way):
    save(tmp_path / 'sound.pth')
    way(tmp_path, tmp_path / 'sound.pth')


def test_part_of_a_model_may_be_loaded(tmp_path):
    save(tmp_path / 'backbone.pth')
    state = torch.load(tmp_path / 'backbone.pth')['state_dict']
    del state['head.fc.weight']
    save(tmp_path / 'backbone.pth', state_dict=state)
    by_load_from(tmp_path, tmp_path / 'backbone.pth')
    match = r'backbone\.pth.* resumed from.*first that does not fit is .head\.fc\.weight.'
    with pytest.raises(ValueError, match=match):
        by_resume(tmp_path, tmp_path / 'backbone.pth')


def test_pretrained_of_a_prefix_that_is_not_there(tmp_path):
    save(tmp_path / 'sound.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'sound.pth'), prefix='teacher')
    with pytest.raises(ValueError, match=r'sound\.pth.* teacher\. is not in the pretrained model'):
        MODELS.build(dict(classifier(2), init_cfg=init_cfg)).init_weights()


def write_code_to_config(path, marker):
    checkpoint = torch.load(path, weights_only=False)
    checkpoint['meta']['config'] = f'opened = str(open({str(marker)!r}, "w"))'
    torch.save(checkpoint, path)


def test_the_config_in_a_checkpoint_is_not_run(tmp_path):
    """A text of an old format, which mmengine executes on resuming."""
    path, marker = tmp_path / 'hostile.pth', tmp_path / 'pwned'
    trained = runner(tmp_path, path)
    trained.model.head.fc.bias.data.fill_(7.0)
    trained.optim_wrapper = trained.build_optim_wrapper(trained.optim_wrapper)
    trained.save_checkpoint(str(tmp_path), path.name, meta=dict(epoch=0, iter=1))
    write_code_to_config(path, marker)
    resumed = runner(tmp_path / 'again', path, resume=True)
    resumed.load_or_resume()
    assert not marker.exists()
    assert resumed.iter == 1
    assert resumed.model.head.fc.bias.eq(7.0).all()


def test_nor_does_a_flexible_runner_run_it(tmp_path):
    settings = {'val_cfg.type': 'ValLoop', 'strategy': dict(type='SingleDeviceStrategy')}
    first = digits(tmp_path / 'whole', **{'train_cfg.max_epochs': 1}, **settings)
    FlexibleRunner.from_cfg(first).train()
    path, marker = tmp_path / 'whole' / 'epoch_1.pth', tmp_path / 'pwned'
    write_code_to_config(path, marker)
    again = digits(tmp_path / 'again', load_from=str(path), resume=True, **settings)
    resumed = FlexibleRunner.from_cfg(again)
    resumed.train()
    assert not marker.exists()
    assert resumed.train_loop.epoch == 2


def test_what_grows_a_little_is_refused_in_the_home_folder_too(tmp_path, monkeypatch):
    """Which torch is given by its whole path, and the check by the short one."""
    monkeypatch.setenv('HOME', str(tmp_path))
    save(tmp_path / 'bomb.pth')
    rewrite(tmp_path / 'bomb.pth', 'data/0', lambda old: bytes(1 << 16), zipfile.ZIP_DEFLATED)
    with pytest.raises(pickle.UnpicklingError, match=r"'~/bomb\.pth' cannot .* would unpack to"):
        load_checkpoint(torch.nn.Linear(2, 2), '~/bomb.pth')


def test_a_bomb_is_refused_before_it_takes_memory(tmp_path):
    """Half a gigabyte in half a megabyte, under a limit that it would exceed."""
    save(tmp_path / 'bomb.pth')
    rewrite(tmp_path / 'bomb.pth', 'data/0', lambda old: bytes(1 << 29), zipfile.ZIP_DEFLATED)
    assert (tmp_path / 'bomb.pth').stat().st_size < 1 << 20
    script = tmp_path / 'script.py'
    script.write_text(
        'import resource, sys, torch, skd_mmrazor.safeguards\n'
        'from mmengine.runner import load_checkpoint\n'
        'used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()\n'
        'resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 28),) * 2)\n'
        'before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n'
        'try:\n'
        '    load_checkpoint(torch.nn.Linear(2, 2), sys.argv[1])\n'
        'except Exception as error:\n'
        '    print(type(error).__name__, error)\n'
        'print("KiB taken:", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n'
    )
    output = run_python(script, tmp_path / 'bomb.pth')
    assert re.search(r'UnpicklingError .*bomb\.pth.* would unpack to 5\d{8}, expected', output)
    assert int(re.search(r'KiB taken: (\d+)', output)[1]) < 32 * 1024
