"""Links lead somewhere, every page is in the index, and the two READMEs are in step."""

import re

import pytest
import yaml

from .conftest import ROOT
from .documents import PAGES, READMES, blocks, inline_code, links, name, numbers, read, tables
from .documents import without_blocks as _without_blocks

DOCUMENTS = sorted(
    path
    for pattern in ('*.md', 'docs/*.md', 'configs/**/*.md', 'benchmarks/**/*.md', '.github/**/*.md')
    for path in ROOT.glob(pattern)
)
INDICES = yaml.safe_load((ROOT / 'model-index.yml').read_text())['Import']


def headings(text):
    return re.findall(r'^(#+) +(.*?) *$', _without_blocks(text), flags=re.MULTILINE)


def anchors(text):
    """The headings of a document by the names that GitHub gives them."""
    plain = [re.sub(r'[^\w\- ]', '', heading.lower()) for _, heading in headings(text)]
    return {heading.replace(' ', '-') for heading in plain}


def broken_links(path):
    """Relative links without a file or, where they name one, without a heading."""
    broken = []
    for link in links(read(path)):
        if re.match(r'[a-z]+:', link):
            continue
        target, _, anchor = link.partition('#')
        target = path.parent / target if target else path
        if not target.exists() or (anchor and anchor not in anchors(read(target))):
            broken.append(link)
    return broken


@pytest.mark.parametrize('path', DOCUMENTS, ids=name)
def test_relative_links_lead_somewhere(path):
    assert not broken_links(path)


def test_a_broken_link_is_found(tmp_path):
    (tmp_path / 'there.md').write_text('# A `b`, c\n')
    targets = ['there.md', 'there.md#a-b-c', '#here', 'https://a.org', 'gone.md', 'there.md#d']
    document = tmp_path / 'document.md'
    document.write_text('# Here\n' + ''.join(f'[text]({link})\n' for link in targets))
    document.write_text(read(document) + '![picture](gone.png)\n')
    assert broken_links(document) == ['gone.md', 'there.md#d', 'gone.png']


@pytest.mark.parametrize('path', PAGES, ids=name)
def test_what_a_page_includes_is_there(path):
    """From the line that it starts after to the line that it ends before."""
    for block in blocks(read(path)):
        if block.language == '{include}':
            file = re.search(r'{include} (\S+)\n' + re.escape(block.text), read(path)).group(1)
            text = read(path.parent / file)
            for mark in re.findall(r'^:(?:start-after|end-before): "(.*)"$', block.text, re.M):
                assert text.count(f'\n{mark}\n') == 1, mark
                text = text[text.index(mark) + len(mark) :]


def test_every_page_is_in_the_index():
    toctrees = [b for b in blocks(read(ROOT / 'docs/index.md')) if b.language == '{toctree}']
    entries = [line for tree in toctrees for line in tree.text.split('\n\n')[1].split()]
    assert sorted(entries) == sorted(path.stem for path in PAGES if path.stem != 'index')


def differences(ours, theirs):
    """In what two READMEs that say the same in two languages differ."""

    def parts(text):
        def cell(content):
            return numbers(content), inline_code(content), '**' in content

        return {
            'headings': [level for level, _ in headings(text)],
            'blocks': blocks(text),
            'links': [link for link in links(text) if not link.startswith('README')],
            'inline code': sorted(set(inline_code(text))),
            'tables': [
                [
                    [(numbers(cell), inline_code(cell), '**' in cell) for cell in row]
                    for row in table
                ]
                for table in tables(text)
            ],
        }

    ours, theirs = parts(ours), parts(theirs)
    return [part for part in ours if ours[part] != theirs[part]]


def test_the_readmes_are_in_step():
    assert not differences(*map(read, READMES))


@pytest.mark.parametrize(
    ('before', 'after', 'part'),
    [
        ('+1.78', '+1.88', 'tables'),
        ('`simplified_losses` |', '`simplify` |', 'tables'),
        ('tau=4', 'tau=2', 'blocks'),
        ('\n## Limits', '\n### Limits', 'headings'),
        ('\n## Citing', '\n## More\n\n## Citing', 'headings'),
        ('docs/results.md', 'docs/faq.md', 'links'),
        ('`curves.png`', '`curve.png`', 'inline code'),
        ('| digits, DKD | 16 | 97.69 | 98.05 | **+0.36 [+0.08, +0.65]** |\n', '', 'tables'),
    ],
)
def test_a_readme_that_changes_alone_is_found(before, after, part):
    ours, theirs = map(read, READMES)
    assert before in ours
    assert part in differences(ours.replace(before, after), theirs)


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
