"""What a release says of itself in several files is one thing."""

import re

import yaml

from skd_mmrazor.version import __version__

from .conftest import ROOT


def test_code_changelog_and_citation_have_one_version():
    """As the release workflow compares them with the tag."""
    releases = re.findall(
        r'^## (\S+) \(\d{4}-\d\d-\d\d\)$', (ROOT / 'CHANGELOG.md').read_text(), re.M
    )
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    assert releases[0] == citation['version'] == __version__


def test_the_paper_comes_first():
    paper = yaml.safe_load((ROOT / 'CITATION.cff').read_text())['preferred-citation']
    assert paper['title'] == 'Student-friendly Knowledge Distillation'
    assert [author['family-names'] for author in paper['authors']] == ['Yuan', 'Lang', 'Quan']
    assert '2305.10893' in paper['url']
