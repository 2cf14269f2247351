"""Sphinx builds these pages: ``sphinx-build -W -n -b html docs docs/_build``."""

import os
import re
from pathlib import Path

import yaml
from sphinx.application import Sphinx

import skd_mmrazor

DOCS = Path(__file__).resolve().parent
CITATION = yaml.safe_load((DOCS.parent / 'CITATION.cff').read_text(encoding='utf-8'))
# Read the Docs knows from where it cloned.
REPOSITORY = os.environ.get('READTHEDOCS_GIT_CLONE_URL', CITATION['repository-code'])

project = 'skd-mmrazor'
copyright = 'the skd-mmrazor contributors'
version = release = skd_mmrazor.__version__

extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'sphinx.ext.viewcode']
myst_enable_extensions = ['dollarmath']
myst_heading_anchors = 3
exclude_patterns = ['_build']
html_theme = 'furo'
html_static_path = ['_static']
html_css_files = ['narrow.css']
html_title = f'skd-mmrazor {version}'

autodoc_typehints = 'none'  # The docstrings have them.
autodoc_member_order = 'bysource'
# Classes of other packages, as docstrings name them.
nitpick_ignore = [
    ('py:class', name)
    for name in (
        *('BaseDataset', 'BaseModel', 'DataLoader', 'DataSample', 'Evaluator', 'Runner', 'Tensor'),
        *('nn.Module', 'optional'),
    )
] + [('py:exc', 'UnpicklingError'), ('py:func', 'torch.nn.functional.kl_div')]
linkcheck_ignore = [r'https://download\.openmmlab\.com/.*']


def link_to_repository(text: str, folder: Path) -> str:
    """Makes links to files that are no pages, such as configs, links to the repository.

    Args:
        text (str): A page in Markdown.
        folder (Path): The folder of its file.
    """

    def replace(match: re.Match) -> str:
        path = (folder / match[1]).resolve()
        if not path.exists() or path.is_relative_to(DOCS):
            return match[0]
        kind = 'tree' if path.is_dir() else 'blob'
        path = path.relative_to(DOCS.parent)
        return f']({REPOSITORY.removesuffix(".git")}/{kind}/main/{path}{match[2] or ""})'

    return re.sub(r'\]\(([^)\s#:]+)(#[^)\s]*)?\)', replace, text)


def setup(app: Sphinx) -> None:
    """Has it done when a page is read, and when a part of the README is included."""

    def read(app: Sphinx, name: str, source: list[str]) -> None:
        source[0] = link_to_repository(source[0], DOCS)

    def include(app: Sphinx, path: Path, parent: str, source: list[str]) -> None:
        source[0] = link_to_repository(source[0], (DOCS / path).parent)

    app.connect('source-read', read)
    app.connect('include-read', include)
