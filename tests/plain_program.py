"""A program of mmengine and mmpretrain that does not use this package.

``plain_program.py FOLDER OUTPUT [MODULE]`` imports MODULE, where one is given, and
writes what the program does, and what the libraries consist of, as JSON.
"""

import builtins
import contextlib
import importlib
import inspect
import json
import logging
import os
import pickle
import sys
import types
import warnings
from pathlib import Path

import torch
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.model import BaseModel, MMDistributedDataParallel
from mmengine.registry import DefaultScope, Registry
from mmengine.runner import Runner, load_checkpoint
from mmpretrain.datasets import CustomDataset
from mmpretrain.registry import DATASETS, MODELS

for _part in ('apis', 'datasets', 'engine', 'evaluation', 'models', 'visualization'):
    importlib.import_module(f'mmpretrain.{_part}')
importlib.import_module('mmengine.hub')
# mmrazor imports these by itself, and they change filters of warnings.
for _part in ('matplotlib.pyplot', 'sklearn.tree'):
    importlib.import_module(_part)

LIBRARIES = ('mmengine', 'mmpretrain', 'mmcv', 'torch')
MODULES = {n for n in sys.modules if n.split('.')[0] in LIBRARIES}


class Model(BaseModel):
    def __init__(self, layers=1):
        super().__init__()
        self.layers = torch.nn.Sequential(*(torch.nn.Linear(2, 2) for _ in range(layers)))

    def forward(self, inputs, mode='tensor'):
        output = self.layers(torch.stack(list(inputs)))
        return dict(loss=output.square().mean()) if mode == 'loss' else [output]


def build(folder, layers=1, **arguments):
    torch.manual_seed(0)
    return Runner(
        Model(layers),
        str(folder),
        train_dataloader=torch.utils.data.DataLoader([dict(inputs=torch.ones(2))] * 4, 2),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
        experiment_name=str(folder),
        log_level='ERROR',
        randomness=dict(seed=0),
        **arguments,
    )


def outcome(function, *arguments):
    """What a function returns, or its error."""
    try:
        return function(*arguments)
    except Exception as error:
        return f'{type(error).__name__}: {error}'


def weights(runner):
    return {k: v.tolist() for k, v in runner.model.state_dict().items()}


def annotations(folder, line):
    (folder / 'ann.txt').write_text(f'{line}\n')
    dataset = CustomDataset(
        data_root=str(folder),
        ann_file='ann.txt',
        data_prefix='images',
        metainfo=dict(classes=('a', 'b')),
        lazy_init=True,
    )
    return outcome(dataset.load_data_list)


def train(folder, name, **arguments):
    runner = build(folder / name, **arguments)
    error = outcome(lambda: runner.train() and None)
    hooks = [(type(hook).__name__, hook.priority) for hook in runner.hooks]
    return dict(error=error, hooks=hooks, weights=weights(runner), epoch=runner.epoch)


class Code:
    def __reduce__(self):
        return os.path.join, ('a', 'b')


def behaviours(folder):
    first = train(folder, 'first')
    checkpoint = folder / 'first' / 'epoch_1.pth'
    torch.save(dict(state_dict=dict(other=torch.ones(2))), folder / 'other.pth')
    torch.save(dict(state_dict={}, meta=Code()), folder / 'code.pth')
    weights_only = dict(state_dict=Model().state_dict(), meta=dict(epoch=1, iter=2))
    torch.save(dict(weights_only, message_hub=_empty_hub()), folder / 'resumed.pth')
    (folder / 'text.pth').write_text('no checkpoint')
    resumed = dict(load_from=str(folder / 'resumed.pth'), resume=True)
    return {
        'annotation: absolute path': annotations(folder, '/etc/passwd 1'),
        'annotation: parent folder': annotations(folder, '../../a.jpg 1'),
        'annotation: label -1': annotations(folder, 'a.jpg -1'),
        'annotation: no label': annotations(folder, 'a.jpg'),
        'training, hooks and weights': first,
        'files of a run': sorted(
            p.name for p in (folder / 'first').iterdir() if p.is_file() and p.suffix != '.py'
        ),
        'last_checkpoint': (folder / 'first' / 'last_checkpoint').read_text(),
        'keys of a checkpoint': list(torch.load(checkpoint, weights_only=False)),
        'load_from of which nothing fits': train(
            folder, 'other', load_from=str(folder / 'other.pth')
        ),
        'resume into another layer': train(folder, 'layer', layers=2, **resumed),
        'a checkpoint with code': outcome(torch.load, folder / 'code.pth').split(':')[0],
        'a checkpoint with code, allowed': str(torch.load(folder / 'code.pth', weights_only=False)),
        'a text as a checkpoint': outcome(load_checkpoint, Model(), str(folder / 'text.pth')),
        'signature of DDP': str(inspect.signature(MMDistributedDataParallel.__init__)),
        'default scope': DefaultScope.get_current_instance().scope_name,
        'random numbers': torch.rand(3).tolist(),
        'own classes': [
            outcome(lambda: str(MODELS.register_module('MobileNetV1', module=Model))),
            str([MODELS.get('LinearReduction'), DATASETS.get('Digits')]),
        ],
        'pickled dataset': len(pickle.dumps(CustomDataset(lazy_init=True, data_root='x'))),
    }


def _empty_hub():
    return dict(log_scalars={}, runtime_info={}, resumed_keys={})


def identity(value):
    """A string that identifies a function, a property or a class."""
    if isinstance(value, (classmethod, staticmethod)):
        return [type(value).__name__, identity(value.__func__)]
    if isinstance(value, types.FunctionType):
        code = value.__code__
        # Not its name: a wrapper has that of what it wraps.
        return [code.co_filename, code.co_firstlineno, code.co_name]
    if isinstance(value, property):
        return [identity(f) for f in (value.fget, value.fset, value.fdel)]
    if isinstance(value, (type, types.ModuleType)):
        return f'{getattr(value, "__module__", "")}.{value.__name__}'
    return type(value).__name__


def attributes():
    """The identity of every attribute of the libraries' modules and classes."""
    found = {}
    for module_name in sorted(MODULES):
        module = sys.modules[module_name]
        for name, value in list(vars(module).items()):
            if name in ('__builtins__', '__warningregistry__'):
                continue
            if isinstance(value, types.ModuleType):
                continue  # Submodules appear when somebody imports them.
            found[f'{module_name}.{name}'] = identity(value)
            if isinstance(value, type) and value.__module__ == module_name:
                for member, member_value in list(vars(value).items()):
                    if member not in ('__abstractmethods__', '_abc_impl', '__dict__'):
                        found[f'{module_name}.{name}.{member}'] = identity(member_value)
    return found


def registries():
    """The names in each registry of mmengine and mmpretrain, with their modules."""
    return {
        f'{holder}.{name}': {k: v.__module__ for k, v in registry.module_dict.items()}
        for holder in ('mmengine.registry', 'mmpretrain.registry')
        for name, registry in vars(sys.modules[holder]).items()
        if isinstance(registry, Registry)
    }


def main():
    folder, output, *module = sys.argv[1:]
    before = (torch.get_rng_state().tolist(), [str(f) for f in warnings.filters])
    # Classes of the program's own may have any name.
    MODELS.register_module('LinearReduction', module=Model)
    DATASETS.register_module('Digits', module=Model)
    requested = []
    if module:
        with watching_imports(requested):
            importlib.import_module(module[0])
    found = dict(
        state_of_random_numbers=torch.get_rng_state().tolist() == before[0],
        filters_of_warnings=[f for f in map(str, warnings.filters) if f not in before[1]],
        attributes=attributes(),
        registries=registries(),
        packages=dict(MODULE2PACKAGE),
        finders=[getattr(f, '__module__', '') for f in sys.meta_path],
        environment=sorted(os.environ),
        handlers_of_logs=str(logging.root.handlers),
        defaults=[str(torch.get_default_dtype()), torch.get_num_threads()],
        requested=sorted({*requested}),
        imported=sorted({name.split('.')[0] for name in sys.modules} - {'skd_mmrazor'}),
    )
    found['behaviours'] = behaviours(Path(folder))
    Path(output).write_text(json.dumps(found, default=str))


@contextlib.contextmanager
def watching_imports(requested):
    """Notes what modules of this project import from elsewhere, by top-level name."""

    def watch(name, globals=None, locals=None, fromlist=(), level=0):
        importer = (globals or {}).get('__name__', '')
        if importer.split('.')[0] == 'skd_mmrazor' and level == 0:
            requested.append(name.split('.')[0])
        return original(name, globals, locals, fromlist, level)

    original, builtins.__import__ = builtins.__import__, watch
    try:
        yield
    finally:
        builtins.__import__ = original


if __name__ == '__main__':
    main()
