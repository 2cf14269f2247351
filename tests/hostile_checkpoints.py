"""Checkpoints that are damaged, that fit no model, or that run code."""

import os
import pickle
import tarfile
import zipfile

import pytest
import torch
from mmrazor.registry import MODELS
from packaging.version import Version

from .conftest import classifier

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
