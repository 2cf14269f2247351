"""Links of the documents lead somewhere, and the index of the docs has every page."""

import re

import pytest
import yaml

from .conftest import ROOT

DOCUMENTS = sorted(
    path
    for pattern in ('*.md', 'docs/*.md', 'configs/**/*.md', '.github/**/*.md')
    for path in ROOT.glob(pattern)
)
INDICES = yaml.safe_load((ROOT / 'model-index.yml').read_text())['Import']


def anchors(text):
    """The headings of a document by the names that GitHub gives them."""
    headings = re.findall(r'^#+ +(.*?) *$', without_code(text, inline=False), flags=re.MULTILINE)
    plain = [re.sub(r'[^\w\- ]', '', heading.lower()) for heading in headings]
    return {heading.replace(' ', '-') for heading in plain}


def without_code(text, inline=True):
    text = re.sub(r'^```.*?^```$', '', text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r'`[^`\n]*`', '', text) if inline else text


def broken_links(path):
    """Relative links without a file or, where they name one, without a heading."""
    broken = []
    for link in re.findall(r'\]\(([^)\s]+)\)', without_code(path.read_text())):
        if re.match(r'[a-z]+:', link):
            continue
        name, _, anchor = link.partition('#')
        target = path.parent / name if name else path
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            broken.append(link)
    return broken


@pytest.mark.parametrize('path', DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_lead_somewhere(path):
    assert not broken_links(path)


def test_a_broken_link_is_found(tmp_path):
    (tmp_path / 'there.md').write_text('# A `b`, c\n')
    links = ['there.md', 'there.md#a-b-c', '#here', 'https://example.org', 'gone.md', 'there.md#d']
    document = tmp_path / 'document.md'
    document.write_text('# Here\n' + ''.join(f'[text]({link})\n' for link in links))
    assert broken_links(document) == ['gone.md', 'there.md#d']


def test_every_page_is_in_the_index():
    toctrees = re.findall(
        r'^```{toctree}\n(.*?)^```$', (ROOT / 'docs/index.md').read_text(), re.S | re.M
    )
    entries = {line for tree in toctrees for line in tree.split() if not line.startswith(':')}
    pages = {path.stem for path in (ROOT / 'docs').glob('*.md')} - {'index'}
    assert pages <= entries


def test_the_model_index_has_every_experiment_once():
    models = [
        model for index in INDICES for model in yaml.safe_load((ROOT / index).read_text())['Models']
    ]
    configs = {
        str(path.relative_to(ROOT))
        for path in (ROOT / 'configs').rglob('*.py')
        if '_base_' not in path.parts
    }
    listed = [model['Config'] for model in models]
    assert sorted(listed) == sorted(configs)
    assert [model['Name'] for model in models] == [name.split('/')[-1][:-3] for name in listed]


@pytest.mark.parametrize('index', INDICES)
def test_a_collection_has_its_readme_and_its_models(index):
    content = yaml.safe_load((ROOT / index).read_text())
    (collection,) = content['Collections']
    assert (ROOT / collection['README']).exists()
    assert {model['In Collection'] for model in content['Models']} == {collection['Name']}
