"""``--help`` of each command shows an example, which the command takes."""

import argparse
import importlib.util
import re
import shlex
import subprocess
import sys

import pytest

from ..conftest import ROOT

COMMANDS = sorted(
    path
    for folder in ('tools', 'benchmarks', 'upstream')
    for path in (ROOT / folder).rglob('*.py')
    if "if __name__ == '__main__':" in path.read_text()
)
LAUNCHERS = {'dist_test.sh': 3, 'dist_train.sh': 2, 'slurm_train.sh': 4}


class ParsedError(Exception):
    """Raised after the arguments of a command were parsed, in place of what it does."""


def load(path):
    """Imports a command, benchmarks as parts of their package."""
    name = '.'.join(path.relative_to(ROOT).with_suffix('').parts)
    if name.startswith(('benchmarks', 'upstream')):
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(f'{name}_for_help', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize('path', COMMANDS, ids=lambda path: str(path.relative_to(ROOT)))
def test_its_help_shows_an_example_that_it_takes(path, monkeypatch, capsys):
    if path.parent.name == 'mutation':
        pytest.importorskip('cosmic_ray')
    monkeypatch.syspath_prepend(path.parent)
    module = load(path)
    monkeypatch.setattr(sys, 'argv', [str(path), '--help'])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert not ended.value.code
    text = capsys.readouterr().out.replace('\\\n', '')
    example = re.search(r'^Example:\n(?:    .*\n)*?    (python .*)$', text, re.MULTILINE)
    assert example, text
    name, *arguments = shlex.split(example[1])[1:]
    if name == '-m':
        name, *arguments = arguments
    assert name in (str(path.relative_to(ROOT)), module.__name__)

    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(parser):
        parse(parser)
        raise ParsedError

    monkeypatch.setattr(argparse.ArgumentParser, 'parse_args', parse_and_stop)
    monkeypatch.setattr(sys, 'argv', [name, *arguments])
    with pytest.raises(ParsedError):
        module.main()
    for argument in arguments:
        if argument.startswith('configs/'):
            assert (ROOT / argument).exists()


@pytest.mark.parametrize(('name', 'number'), LAUNCHERS.items())
def test_a_launcher_says_how_it_is_called(name, number):
    def call(*arguments):
        command = ['bash', f'tools/{name}', *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    asked, short = call('--help'), call(*['x'] * (number - 1))
    assert (asked.returncode, short.returncode) == (0, 1)
    assert asked.stdout == short.stdout
    usage, example = asked.stdout.splitlines()
    assert usage.startswith(f'Usage: tools/{name} ')
    configs = re.findall(r'configs/\S+', example)
    assert configs
    assert all((ROOT / config).exists() for config in configs)
