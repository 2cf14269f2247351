"""With the safeguards, nothing in a file from elsewhere runs, and errors name the file.

Every hostile checkpoint is tried by each of the ways into a run, and every
hostile annotation file in the data set of ``configs/*imagenet.py``.
"""

import functools
import os
import pickle
import re
import tarfile
import zipfile

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import FlexibleRunner, Runner
from mmpretrain.registry import DATASETS
from mmrazor.registry import MODELS
from packaging.version import Version

from .conftest import ROOT, algorithm, classifier, distiller, run_python
from .digits_runs import digits

weights_only = pytest.mark.skipif(
    Version(torch.__version__) < Version('2.6'), reason='torch.load runs code before 2.6'
)


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f'touch {self.marker}',)


def save(path, **changes):
    """A sound checkpoint of a small classifier, but for the changes."""
    state = MODELS.build(classifier(2)).state_dict()
    torch.save(dict(dict(state_dict=state, meta=dict(epoch=0, iter=0)), **changes), path)


def rewrite(path, name, content, compression=zipfile.ZIP_STORED, declared=None):
    """Replaces an entry of a checkpoint, and what the archive says of its size."""
    with zipfile.ZipFile(path) as archive:
        entries = {entry: archive.read(entry) for entry in archive.namelist()}
    with zipfile.ZipFile(path, 'w', compression) as archive:
        for entry, old in entries.items():
            changed = entry.endswith(name)
            archive.writestr(entry, content(old) if changed else old)
            if changed and declared:
                archive.filelist[-1].file_size = declared


# Each writes one file; the last argument is the file that its code would create.


def empty(path, marker):
    path.touch()


def text(path, marker):
    path.write_text('These are not the weights.\n' * 100)


def truncated(path, marker):
    save(path)
    path.write_bytes(path.read_bytes()[:-2000])


def eight_bytes(path, marker):
    save(path)
    path.write_bytes(path.read_bytes()[:8])


def code(path, marker):
    save(path, meta=Evil(marker))


def code_in_the_old_format(path, marker):
    torch.save(dict(state_dict=Evil(marker)), path, _use_new_zipfile_serialization=False)


def code_in_a_plain_pickle(path, marker):
    path.write_bytes(pickle.dumps(dict(state_dict=Evil(marker))))


def code_in_a_tar(path, marker):
    save(path.with_suffix('.pkl'), meta=Evil(marker))
    with tarfile.open(path, 'w') as archive:
        for name in ('storages', 'tensors', 'pickle', f'../{marker.name}'):
            archive.add(path.with_suffix('.pkl'), name)


def a_script(path, marker):
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(path))


def compressed_weights(path, marker):
    save(path)
    rewrite(path, 'data/0', lambda old: bytes(1 << 24), zipfile.ZIP_DEFLATED)


def compressed_pickle(path, marker):
    save(path)
    rewrite(path, 'data.pkl', lambda old: old + bytes(1 << 24), zipfile.ZIP_DEFLATED)


def a_terabyte_declared(path, marker):
    save(path)
    rewrite(path, 'data/0', lambda old: old, declared=1 << 40)


def a_list(path, marker):
    torch.save([1, 2], path)


def weights_that_are_a_number(path, marker):
    save(path, state_dict=5)


def names_that_are_numbers(path, marker):
    save(path, state_dict={1: torch.zeros(2)})


def other_keys(path, marker):
    save(path, state_dict=dict(other=torch.zeros(2)))


def no_keys(path, marker):
    save(path, state_dict={})


def other_shapes(path, marker):
    state = MODELS.build(classifier(2)).state_dict()
    save(path, state_dict={key: value.new_zeros(3, 3, 3) for key, value in state.items()})


UNREADABLE = [
    *(empty, text, truncated, eight_bytes, a_list),
    *(weights_that_are_a_number, names_that_are_numbers),
    *(compressed_weights, compressed_pickle, a_terabyte_declared),
    *(
        pytest.param(write, marks=weights_only)
        for write in (code, code_in_the_old_format, code_in_a_plain_pickle, code_in_a_tar, a_script)
    ),
]
UNFITTING = [other_keys, no_keys, other_shapes]


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


@functools.cache
def imagenet_config():
    cfg = Config.fromfile(ROOT / 'configs' / 'skd_dkd_resnet34_resnet18_imagenet.py')
    return cfg.train_dataloader.dataset


def imagenet(folder, annotations, **arguments):
    (folder / 'meta').mkdir()
    (folder / 'train').mkdir()
    (folder / 'meta' / 'train.txt').write_bytes(annotations)
    cfg = dict(imagenet_config(), data_root=str(folder), pipeline=[], **arguments)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return DATASETS.build(cfg)


@pytest.mark.parametrize(
    'line',
    [
        *(b'../../../../etc/passwd 3', b'/etc/passwd 3', b'n01/../../../secret.jpg 3', b'.. 3'),
        *(b'x:http://127.0.0.1/a.jpg 3', b's3://bucket/a.jpg 3', b'file:///etc/passwd 3'),
        *(b'n01/a.jpg\0.png 3', b'\0 3', b'n01/a.jpg 3\0', b'\xff\xfe\x00 3'),
        *(b'n01/a.jpg cat', b'n01/a.jpg 3.0', b'n01/a.jpg 1_0', b'n01/a.jpg \xd9\xa3'),
        *(b'n01/a.jpg 1000', b'n01/a.jpg -1', b'n01/a.jpg ' + b'9' * 5000, b'n01/a.jpg 1e3'),
        *(b'n01/a.jpg', b'3', b'', b' ', b'n01/a.jpg\t3'),
    ],
)
def test_a_hostile_annotation_is_refused_by_file_and_line(tmp_path, line):
    with pytest.raises(ValueError, match=r'meta/train\.txt.*, expected ') as caught:
        imagenet(tmp_path, b'n01/a.jpg 3\n' + line + b'\nn01/b.jpg 4\n')
    if not isinstance(caught.value.__cause__, UnicodeDecodeError):
        assert 'line 2' in str(caught.value)
        assert 'and a label from 0 to 999.' in str(caught.value)


def test_an_empty_annotation_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r'meta/train\.txt. is empty'):
        imagenet(tmp_path, b'')


def test_annotations_without_labels_stay_inside_too(tmp_path):
    with pytest.raises(ValueError, match=r"meta/train\.txt', line 1: '/etc/passwd'"):
        imagenet(tmp_path, b'/etc/passwd\n', with_label=False)
    (tmp_path / 'sound').mkdir()
    dataset = imagenet(tmp_path / 'sound', b'n01/a b.jpg\n', with_label=False)
    assert dataset.get_data_info(0)['img_path'] == str(tmp_path / 'sound/train/n01/a b.jpg')


def test_sound_annotations_are_taken(tmp_path):
    dataset = imagenet(tmp_path, b'n01/a..b.jpg 0\nn02/two words.JPEG 999\r\n')
    samples = [dataset.get_data_info(i) for i in range(len(dataset))]
    assert [s['gt_label'] for s in samples] == [0, 999]
    assert samples[1]['img_path'] == str(tmp_path / 'train' / 'n02' / 'two words.JPEG')
