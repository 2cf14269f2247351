"""Writes the plugin as a series of patches for mmrazor's main branch.

``python -m upstream.make_series MMRAZOR_CHECKOUT OUT_DIR``. The patches of
``patches/`` mend defects of mmrazor and are copied; the last one, SKD itself, is
made from the plugin's sources. See docs/upstreaming.md.
"""

import argparse
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from . import layout, sources, style

ROOT = Path(__file__).parent.parent
FILES = ROOT / 'upstream' / 'files'
PATCHES = ROOT / 'upstream' / 'patches'
SKD = Path('configs/distill/mmcls/skd')
MESSAGE = """\
[Feature] Add student-friendly knowledge distillation (SKD)

SKD (https://arxiv.org/abs/2305.10893) simplifies the teacher's logits
before they reach the distillation loss: softened by a temperature, they
pass an attention module that is trained jointly with the student,
through that loss. Any config of a ConfigurableDistiller gains it by

    distiller=dict(
        type='SKDDistiller',
        simplifier=dict(type='AttentionSimplifierConnector'))

SKDDistiller finds the losses that take the teacher's logits, reads the
number of classes from the teacher and the temperature from the loss,
and replaces KLDivergence and DKDLoss, which keep the gradient from the
teacher, by log-space versions of equal value. The softening is stronger
at first and fades within 1,000 iterations (start_factor, warmup_iters).
Accuracies on ImageNet have not been measured.
"""


def make_series(checkout: Path, out: Path, styled: bool = True) -> list[Path]:
    """Writes the series.

    Args:
        checkout (Path): mmrazor's files, left as they are.
        out (Path): Folder for the patches.
        styled (bool): Whether to run mmrazor's formatters and linter. Defaults
            to True.

    Returns:
        list[Path]: The patches in order.

    Raises:
        ValueError: The files are not mmrazor's, or have SKD already; or a text
            that has to read differently in mmrazor is not found.
    """
    distillers = checkout / 'mmrazor' / 'models' / 'distillers'
    if not distillers.exists() or (distillers / 'skd_distiller.py').exists():
        raise ValueError(f"{checkout} is no checkout of mmrazor's main branch without SKD.")
    out.mkdir(parents=True, exist_ok=True)
    fixes = [Path(shutil.copy(path, out)) for path in sorted(PATCHES.glob('*.patch'))]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for path in [*layout.LISTS, *sorted({path for path, _, _ in layout.EXPORTS}), 'setup.cfg']:
            if (checkout / path).exists():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(checkout / path, root / path)
        _git(root, 'init', '--quiet')
        _commit(root, 'mmrazor')
        written = [*_write_modules(root), *_write_configs(root), *_write_files(root)]
        written += _extend_files(root)
        if styled:
            style.reformat([path for path in written if path.suffix == '.py'], root)
        _commit(root, MESSAGE)
        patch = out / f'{len(fixes) + 1:04}-Feature-Add-SKD.patch'
        patch.write_text(_git(root, 'format-patch', '-1', '--stdout', '--no-signature'))
    return [*fixes, patch]


def _write_modules(root: Path) -> list[Path]:
    written = []
    for old, new in {**layout.MODULES, **layout.TESTS}.items():
        source = (ROOT / old.replace('.', '/')).with_suffix('.py').read_text()
        for text in layout.TEXTS.get(old, []):
            source = sources.replace_once(source, *text, where=old)
        source = sources.drop(source, layout.DROPPED.get(old, layout.DROPPED_TESTS))
        source = sources.move_imports(source, old, new, layout.IMPORTS)
        path = (root / new.replace('.', '/')).with_suffix('.py')
        written.append(_write(path, sources.to_old_python(source)))
    for package in {path.parent for path in written}:
        if not (package / '__init__.py').exists() and package.name in ('skd_utils', 'test_skd'):
            written.append(_write(package / '__init__.py', sources.HEADER))
    return written


def _write_configs(root: Path) -> list[Path]:
    written = []
    for config in sorted((ROOT / 'configs').glob('skd_*.py')):
        source = config.read_text()
        base = re.search(r"_base_ = \['(?:\./|mmrazor::distill/mmcls/)(.*)\.py'\]", source)
        name = base[1]
        if name in layout.NO_BASE:
            continue
        base_path = layout.BASES.get(name, name)
        source = re.sub(r'(?m)^_base_ = .*', f"_base_ = ['../{base_path}.py']", source)
        source = re.sub(r'(?m)^custom_imports = .*\n|  # fmt: skip$', '', source)
        written.append(_write(root / SKD / f'skd_{Path(base_path).name}.py', source))
    return written


def _write_files(root: Path) -> list[Path]:
    written = []
    for path in sorted(FILES.rglob('*.*')):
        text = path.read_text()
        if path.name == 'conftest.py':
            helpers = sources.take((ROOT / 'tests' / 'conftest.py').read_text(), layout.HELPERS)
            text = f'{text}\n\n{helpers}'
        if path.suffix == '.py':
            text = sources.HEADER + text
        written.append(_write(root / path.relative_to(FILES), text))
    return written


def _extend_files(root: Path) -> list[Path]:
    written = []
    for name in filter(lambda name: (root / name).exists(), layout.LISTS):
        text = (root / name).read_text()
        (line,) = re.findall(r'.*distill/mmcls/rkd\b.*\n', text)
        gap = '\n' if line + '\n' in text else ''
        skd = line.replace('rkd', 'skd').replace('RKD', 'SKD')
        written.append(_write(root / name, text.replace(line, line + gap + skd)))
    for name, module, exported in layout.EXPORTS:
        text = (root / name).read_text()
        text = sources.replace_once(
            text, '\n__all__', f'from .{module} import {exported}\n\n__all__', name
        )
        text = sources.replace_once(text, "'\n]", f"',\n    '{exported}'\n]", name)
        written.append(_write(root / name, text))
    return written


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def _commit(root: Path, message: str) -> None:
    _git(root, 'add', '--all')
    _git(root, 'commit', '--quiet', '--message', message)


def _git(root: Path, *arguments: str) -> str:
    identity = ['-c', 'user.name=skd-mmrazor', '-c', 'user.email=skd-mmrazor@example.com']
    command = ['git', *identity, *arguments]
    return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout


def main() -> None:
    """Reads the arguments and writes the series."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkout', type=Path, help="mmrazor's main branch")
    parser.add_argument('out', type=Path, help='folder for the patches')
    parser.add_argument('--no-style', action='store_true', help='skip formatters and linter')
    arguments = parser.parse_args()
    for patch in make_series(arguments.checkout, arguments.out, not arguments.no_style):
        print(patch)


if __name__ == '__main__':
    main()
