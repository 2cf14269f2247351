"""Copies SKD into ``projects/skd`` of an mmrazor checkout, or writes that as a patch.

``docs/upstreaming.md`` says what to do with it.

Example:
    python -m upstream.copy_to_mmrazor ../mmrazor --patch skd.patch
"""

import argparse
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILES = ROOT / 'upstream' / 'files'
PROJECT = Path('projects/skd')
# Folders that import nothing of the plugin except each other, by relative imports.
FOLDERS = ('models/connectors', 'models/distillers', 'models/losses', 'utils')


def copy_project(checkout: Path, project: Path) -> None:
    """Writes the project.

    Args:
        checkout (Path): mmrazor's files. Read only.
        project (Path): The folder to write, which must not exist.

    Raises:
        ValueError: The checkout has no distillation configs.
    """
    if not (checkout / 'configs' / 'distill' / 'mmcls').is_dir():
        raise ValueError(f'checkout={str(checkout)!r}, expected the repository of mmrazor.')
    ignore = shutil.ignore_patterns('__pycache__')
    shutil.copytree(FILES, project, ignore=ignore)
    for folder in FOLDERS:
        shutil.copytree(ROOT / 'skd_mmrazor' / folder, project / folder, ignore=ignore)
    (project / 'configs').mkdir()
    for config in sorted((ROOT / 'configs').glob('skd_*.py')):
        text = config.read_text()
        base = find_base(text, checkout)
        if base is not None:
            text = re.sub(r"(?m)^(_base_ = \[').*('\])$", rf'\1../../../{base}\2', text)
            text = text.replace("'skd_mmrazor'", "'projects.skd.models'")
            (project / 'configs' / config.name).write_text(text)


def find_base(config: str, checkout: Path) -> str | None:
    """Finds the config of mmrazor on which a config of the plugin builds.

    Where the base is one of the plugin's own, mmrazor's config of the same method
    and networks takes its place.

    Args:
        config (str): The text of the plugin's config.
        checkout (Path): mmrazor's files.

    Returns:
        str | None: The path in the checkout; None if mmrazor has no such config.
    """
    (base,) = re.findall(r"(?m)^_base_ = \['(?:\./|mmrazor::)(.*)\.py'\]$", config)
    if '/' in base:
        return f'configs/{base}.py'
    method, networks = base.removesuffix('_imagenet').split('_', 1)
    found = (checkout / 'configs' / 'distill' / 'mmcls' / method).glob(f'*_{networks}_*.py')
    return next((path.relative_to(checkout).as_posix() for path in found), None)


def write_patch(checkout: Path, patch: Path) -> None:
    """Writes the project as a patch for ``git apply`` and leaves the checkout alone.

    Args:
        checkout (Path): mmrazor's files. Read only.
        patch (Path): The file to write.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy_project(checkout, Path(folder) / PROJECT)
        for command in ('init --quiet', 'add --force .'):
            subprocess.run(['git', *command.split()], cwd=folder, check=True)
        tree = subprocess.check_output(['git', 'hash-object', '-t', 'tree', '/dev/null'], text=True)
        diff = ['git', 'diff-index', '--cached', '--patch', tree.strip()]
        patch.write_bytes(subprocess.check_output(diff, cwd=folder))


def main() -> None:
    """Reads the arguments and writes the project or the patch."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument('checkout', type=Path, help='the repository of mmrazor')
    parser.add_argument('--patch', type=Path, help='write this file instead of the project')
    arguments = parser.parse_args()
    written = arguments.patch or arguments.checkout / PROJECT
    try:
        if arguments.patch:
            write_patch(arguments.checkout, written)
        else:
            copy_project(arguments.checkout, written)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    print(f'{"patch" if arguments.patch else "project"}: {written}')


if __name__ == '__main__':
    main()
