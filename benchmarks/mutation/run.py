"""Counts the mutants of a file that its quick tests kill.

Example:
    pip install cosmic-ray
    python benchmarks/mutation/run.py skd_mmrazor/models/losses/*.py

The committed state is mutated, in a copy. Each mutant is tried in a fork of a process
that has imported torch, mmrazor and mmpretrain, and so costs the time of its tests.
"""

import argparse
import compileall
import difflib
import gc
import importlib
import json
import os
import py_compile
import random
import signal
import subprocess
import sys
import tempfile
import time
import types
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from cosmic_ray.mutating import mutate_code
from operators import get_operators

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
OUTCOMES = {0: 'survived', 1: 'killed'}
# Of all files.
DEFAULTS = 'tests/test_docstrings.py'
PRELOADED = ['mmpretrain', 'mmrazor.engine', 'mmrazor.models', 'sklearn.datasets', 'scipy.stats']
PRELOADED += ['matplotlib.figure', 'torchvision', 'pytest', 'hypothesis', 'xdist.plugin']


def get_mutants(path: Path) -> Iterator[tuple[str, int, str]]:
    """Yields the operator, its occurrence and the code of every mutant of a file."""
    source, seen = path.read_text(), set()
    for name, operator in get_operators().items():
        number = 0
        while (code := mutate_code(source, operator, number)) is not None:
            if code not in seen:
                seen.add(code)
                yield name, number, code
            number += 1


def preload() -> None:
    """Imports what is not mutated, as skd_mmrazor does, and forgets skd_mmrazor."""
    package = types.ModuleType('skd_mmrazor')
    package.__path__ = ['skd_mmrazor']
    sys.modules['skd_mmrazor'] = package
    compat = importlib.import_module('skd_mmrazor.compat')
    # The others change mmrazor's classes, which would be changed twice.
    compat._MODULES = compat._MODULES[: compat._MODULES.index('quantization') + 1]
    compat.apply()
    for name in [name for name in sys.modules if name.split('.')[0] == 'skd_mmrazor']:
        del sys.modules[name]
    for name in PRELOADED:
        importlib.import_module(name)
    # A data set collects garbage when it is built, which goes through all of the modules.
    gc.freeze()


def try_tests(tests: list[str], timeout: float) -> str:
    """Runs tests in a fork, until the first that fails."""
    pid = os.fork()
    if pid == 0:
        os.setpgrp()
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        import pytest

        options = ['-xq', '-Wignore', '-pno:cacheprovider', '--assert=plain']
        options.append('-oaddopts=-m "not nightly"')
        os._exit(int(pytest.main([*options, *tests])))
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            # Mutants that cannot be imported are left out of the score.
            return OUTCOMES.get(os.waitstatus_to_exitcode(status), 'invalid')
        time.sleep(0.02)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return 'timeout'


def mutate_file(path: Path, tests: list[str], limit: int, seed: int) -> Counter:
    """Tries the mutants of a file, and prints those that survive.

    Args:
        path (Path): The file, in the copy.
        tests (list[str]): Its tests.
        limit (int): If there are more mutants than this, this many are drawn at random.
        seed (int): The seed of the draw.

    Returns:
        Counter: How many had each outcome.
    """
    source, begin = path.read_text(), time.monotonic()
    if (outcome := try_tests(tests, 3600)) != 'survived':
        print(f'{path}: without a mutant, its tests are {outcome}', flush=True)
        return Counter()
    seconds = time.monotonic() - begin
    print(f'{path}: its tests take {seconds:.0f} s', flush=True)
    timeout = 10 + 4 * seconds
    mutants = list(get_mutants(path))
    drawn = random.Random(seed).sample(mutants, min(limit, len(mutants)))
    found = Counter(mutants=len(mutants))
    for name, number, code in sorted(drawn):
        path.write_text(code)
        outcome = try_tests(tests, timeout)
        found[outcome] += 1
        if outcome == 'survived':
            lines = difflib.unified_diff(source.splitlines(), code.splitlines(), n=0, lineterm='')
            diff = '\n'.join(line for line in lines if not line.startswith(('---', '+++')))
            print(f'{path} {name} {number}\n{diff}', flush=True)
    path.write_text(source)
    return found


def main() -> None:
    """Tries the mutants of files, and prints a row of a table for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('files', nargs='+', help='files of skd_mmrazor, which tests.json has')
    parser.add_argument('--limit', type=int, default=150, help='mutants of a file')
    parser.add_argument('--seed', type=int, default=0, help='of their draw')
    args = parser.parse_args()
    tests = json.loads((HERE / 'tests.json').read_text())
    # So that the processes that tests start have one thread each.
    os.environ['OMP_NUM_THREADS'] = '1'
    sys.dont_write_bytecode = True
    os.environ['PYTHONDONTWRITEBYTECODE'] = '1'
    with tempfile.TemporaryDirectory() as copy:
        subprocess.run(['git', 'clone', '--quiet', ROOT, copy], check=True)
        os.chdir(copy)
        sys.path.insert(0, copy)
        os.environ['PYTHONPATH'] = copy
        for folder in ('skd_mmrazor', 'tests'):
            mode = py_compile.PycInvalidationMode.CHECKED_HASH
            compileall.compile_dir(folder, quiet=1, invalidation_mode=mode)
        preload()
        rows = []
        for file in args.files:
            name = Path(file)
            name = name.resolve().relative_to(ROOT) if name.is_absolute() else name
            its_tests = next(tests[key] for key in map(str, (name, *name.parents)) if key in tests)
            found = mutate_file(name, [*its_tests.split(), DEFAULTS], args.limit, args.seed)
            noticed = found['killed'] + found['timeout']
            tried = noticed + found['survived']
            rows.append(
                f'| `{name}` | {found["mutants"]} | {tried} | {noticed} | '
                f'{100 * noticed / max(tried, 1):.0f} % |'
            )
            print(rows[-1], flush=True)
    print('\n'.join(rows))


if __name__ == '__main__':
    main()
