"""mmrazor's formatters and linter, and the 79 columns that those only check."""

import io
import re
import shutil
import subprocess
import textwrap
import tokenize
from collections.abc import Iterable
from pathlib import Path

WIDTH = 79
# What starts a line of its own in a docstring: a point of a list, an argument,
# an error.
ITEM = re.compile(r'- |\w+ \(.*?\): |\w+Error: |[A-Z]\w+:$')
# As mmrazor's .pre-commit-config.yaml calls them.
FORMATTERS = (
    ('docformatter', '--in-place', '--wrap-descriptions', '79'),
    ('isort', '--quiet'),
    ('yapf', '--in-place'),
)


def reformat(paths: Iterable[Path], root: Path) -> None:
    """Runs mmrazor's own formatters, and then its linter, in its folder.

    Needs Python 3.11 at most: mmrazor's yapf knows no later one, and from 3.12 on
    an f-string is no longer one token.

    Args:
        paths (Iterable[Path]): The files.
        root (Path): Has mmrazor's ``setup.cfg``.

    Raises:
        FileNotFoundError: A tool of ``requirements.txt`` is not installed.
        CalledProcessError: The linter found something.
    """
    files = [str(path.relative_to(root)) for path in paths]
    for command in (*FORMATTERS, ('flake8',)):
        if shutil.which(command[0]) is None:
            raise FileNotFoundError(f'{command[0]} is missing, see upstream/requirements.txt.')
        if command[0] == 'flake8':
            for path in paths:
                source = _wrap_docstrings(_wrap_comments(path.read_text()))
                path.write_text(_split_long_strings(source))
            subprocess.run(['yapf', '--in-place', *files], cwd=root, check=True)
        subprocess.run([*command, *files], cwd=root, check=True)


def _wrap_comments(source: str) -> str:
    lines: list[str] = []
    for block in re.split(r'((?:^ *# .*\n)+)', source, flags=re.MULTILINE):
        if re.match(r' *# ', block) and max(map(len, block.splitlines())) > WIDTH:
            indent = block[: block.index('#')] + '# '
            text = ' '.join(line.strip()[2:] for line in block.splitlines())
            block = textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent)
            block += '\n'
        lines.append(block)
    return ''.join(lines)


def _wrap_docstrings(source: str) -> str:
    """Fills the paragraphs of docstrings that reach too far."""
    lines = source.splitlines()
    for token in reversed(list(tokenize.generate_tokens(io.StringIO(source).readline))):
        if token.type == tokenize.STRING and '"""' in token.string:
            block = slice(token.start[0] - 1, token.end[0])
            lines[block] = _wrap_paragraphs(lines[block])
    return '\n'.join(lines) + '\n'


def _wrap_paragraphs(lines: list[str]) -> list[str]:
    wrapped = []
    while lines:
        line = lines.pop(0)
        if len(line) <= WIDTH:
            wrapped.append(line)
            continue
        paragraph, indent = [line.strip()], _get_indent(line)
        hanging = indent + ' ' * 4 * bool(ITEM.match(line.strip()))
        if lines and lines[0].strip() not in ('', '"""') and not ITEM.match(lines[0].strip()):
            hanging = _get_indent(lines[0])
            while lines[0].strip() not in ('', '"""') and not ITEM.match(lines[0].strip()):
                paragraph.append(lines.pop(0).strip())
        wrapped += textwrap.wrap(
            ' '.join(paragraph),
            WIDTH,
            initial_indent=indent,
            subsequent_indent=hanging,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return wrapped


def _get_indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _split_long_strings(source: str) -> str:
    """Splits strings that reach too far, between words and in brackets."""
    lines = source.splitlines(keepends=True)
    depth = 0
    for token in reversed(list(tokenize.generate_tokens(io.StringIO(source).readline))):
        if token.type == tokenize.OP:
            depth += (token.string in ')]}') - (token.string in '([{')
        (row, start), (_, end) = token.start, token.end
        if token.type != tokenize.STRING or end <= WIDTH or '"""' in token.string:
            continue
        if not depth and not lines[row - 1][end:].strip():
            lines[row - 1] = f'{lines[row - 1][:start]}({lines[row - 1][start:end]})\n'
            break
        string, line = token.string, lines[row - 1]
        opening = re.match(r'\w*[\'"]', string)[0]
        spaces = [m.end() for m in re.finditer(' ', string) if _outside(string, m)]
        cuts = [i for i in spaces if start + i + 1 <= WIDTH]
        if cuts:
            parts = string[: cuts[-1]] + opening[-1], opening + string[cuts[-1] :]
            gap = '\n' + ' ' * start
            lines[row - 1] = line[:start] + gap.join(map(_simplify, parts)) + line[end:]
    result = ''.join(lines)
    return result if result == source else _split_long_strings(result)


def _simplify(string: str) -> str:
    """Leaves out an ``f`` that has become idle, and double quotes that have."""
    prefix, quote, text = re.fullmatch(r'(\w*)([\'"])(.*)\2', string).groups()
    if '{' not in text:
        prefix = prefix.replace('f', '')
    return f'{prefix}{quote}{text}{quote}' if "'" in text else f"{prefix}'{text}'"


def _outside(string: str, space: re.Match) -> bool:
    """Whether a space is outside the braces of an f-string."""
    before = string[: space.start()]
    return before.count('{') == before.count('}')
