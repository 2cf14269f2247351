"""Sphinx builds these pages: ``sphinx-build -W -b html docs docs/_build``."""

import skd_mmrazor

project = 'skd-mmrazor'
copyright = 'the skd-mmrazor contributors'
version = release = skd_mmrazor.__version__

extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'sphinx.ext.viewcode']
myst_enable_extensions = ['dollarmath']
myst_heading_anchors = 3
exclude_patterns = ['_build']
html_theme = 'furo'

autodoc_typehints = 'none'  # The docstrings have them.
autodoc_member_order = 'bysource'
# Names of the tests and files that the pages mention are no cross-references.
nitpicky = False
linkcheck_ignore = [r'https://download\.openmmlab\.com/.*']
