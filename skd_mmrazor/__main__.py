"""Lists what the package changes in other packages: ``python -m skd_mmrazor``."""

import argparse

from .compat import Patch, repairs
from .compat.patches import safeguards
from .utils.command_line import run_tool


def make_table(with_state: bool) -> str:
    """Writes all changes as a table in Markdown.

    Args:
        with_state (bool): Whether to say which changes are made on this machine.

    Returns:
        str: A header, and a row for each change.
    """
    columns = ['', 'what is changed', 'without it', 'issue']
    rows = [['repair', *_describe(patch)] for patch in repairs]
    rows += [['opt-in', *_describe(patch)] for patch in safeguards]
    if with_state:
        columns.insert(1, 'here')
        for row, patch in zip(rows, [*repairs, *safeguards], strict=True):
            row.insert(1, _get_state(patch))
    lines = [columns, ['---'] * len(columns), *rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def _describe(patch: Patch) -> list[str]:
    targets = ', '.join(t if '`' in t or ' ' in t else f'`{t}`' for t in patch.targets)
    number = patch.link.rstrip('/').rpartition('/')[2]
    link = f'[{number}]({patch.link})' if number.isdigit() else f'[page]({patch.link})'
    return [targets, patch.reason, link if patch.link else '–']


def _get_state(patch: Patch) -> str:
    if patch in safeguards:
        return 'only when imported' if patch.needed() else 'not needed'
    return 'yes' if patch.active else 'not needed'


def main() -> None:
    """Prints the table."""
    argparse.ArgumentParser('python -m skd_mmrazor', description=__doc__).parse_args()
    from . import safeguards as _  # noqa: F401  (declares its changes)

    print(make_table(with_state=True))


if __name__ == '__main__':
    run_tool(main)
