"""The documents, taken apart: blocks of code, inline code, headings, tables and links."""

import re
from typing import NamedTuple

from .conftest import ROOT

READMES = ROOT / 'README.md', ROOT / 'README_zh-CN.md'
PAGES = sorted((ROOT / 'docs').glob('*.md'))
# What a user reads. The laboratory notes of benchmarks/ also name what is no longer there.
GUIDES = [*READMES, ROOT / 'CONTRIBUTING.md', *PAGES, *sorted((ROOT / 'configs').rglob('*.md'))]


class Block(NamedTuple):
    """A fenced block, and what the comment above it says that it needs."""

    comment: str
    language: str
    text: str


def blocks(text):
    """The fenced blocks of a document."""
    fence = r'(?:^<!-- (?:needs: )?(.*?) -->\n)?^```(\S*)[^\n]*\n(.*?)^```$'
    return [Block(*found) for found in re.findall(fence, text, re.DOTALL | re.MULTILINE)]


def without_blocks(text):
    return re.sub(r'^```.*?^```$', '', text, flags=re.DOTALL | re.MULTILINE)


def inline_code(text):
    return re.findall(r'`([^`\n]+)`', without_blocks(text))


def links(text):
    """Targets of links and pictures."""
    return re.findall(r'\]\(([^)\s]+)\)', re.sub(r'`[^`\n]*`', '', without_blocks(text)))


def tables(text):
    """Each table: a list of rows, of cells."""
    rows = re.findall(r'(?:^\|.*\|\n)+', without_blocks(text), re.MULTILINE)
    split = r'(?<!\\)\|'
    return [[re.split(split, row)[1:-1] for row in table.splitlines()] for table in rows]


def numbers(text):
    return sorted(re.findall(r'[+−]?\d+(?:[.,]\d+)*', text))


def read(path):
    return path.read_text(encoding='utf-8')


def name(path):
    return str(path.relative_to(ROOT))
