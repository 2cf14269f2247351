"""Metafiles promise nothing that was not measured."""

import csv
import re
import statistics
from collections import defaultdict
from pathlib import Path

import pytest
import yaml

from .conftest import ROOT

METAFILES = yaml.safe_load((ROOT / 'model-index.yml').read_text())['Import']
RESULTS = ROOT / 'benchmarks' / 'accuracy' / 'results'


def read_results(*names):
    """By config, the accuracies of all seeds; those of the first file count."""
    found = {}
    for name in names:
        rows = defaultdict(list)
        with open(RESULTS / name) as file:
            for row in csv.DictReader(file):
                rows[row['config']].append(float(row['value']))
        found = {**rows, **found}
    return found


def get_metrics(path):
    """By config, what a metafile says of its accuracy."""
    models = yaml.safe_load((ROOT / path).read_text())['Models']
    assert all((ROOT / model['Config']).exists() for model in models)
    return {Path(model['Config']).stem: model['Results'][0]['Metrics'] for model in models}


@pytest.mark.parametrize(
    ('path', 'names', 'number'),
    [
        ('configs/digits/metafile.yml', ['digits.csv', 'whole_training/digits.csv'], 6),
        ('benchmarks/accuracy/configs/study/metafile.yml', ['fashion_mnist.csv'], 4),
    ],
    ids=['digits', 'Fashion-MNIST'],
)
def test_results_are_those_of_the_files(path, names, number):
    metrics, measured = get_metrics(path), read_results(*names)
    assert len(metrics) == number
    for name, found in metrics.items():
        if found['Seeds'] > 1:  # The teacher's only run is in the README.
            values = measured[name]
            expected = statistics.mean(values), statistics.stdev(values), len(values)
            assert list(found.values()) == pytest.approx(expected, abs=0.0051)


def test_results_of_the_digits_are_those_of_their_readme():
    text = (ROOT / 'configs/digits/README.md').read_text()
    rows = re.findall(r'\| \[.*\]\((.*)\.py\) \| (\d+) \| ([\d.]+)(?: ± ([\d.]+))? \|', text)
    metrics = get_metrics('configs/digits/metafile.yml')
    assert {name for name, *_ in rows} == metrics.keys()
    for name, seeds, mean, spread in rows:
        found = metrics[name]
        assert (found['Seeds'], found['Top 1 Accuracy']) == (int(seeds), float(mean))
        assert found.get('Standard Deviation') == (float(spread) if spread else None)


@pytest.mark.parametrize('path', METAFILES)
def test_only_what_was_trained_has_results(path):
    """And none has weights, since none are published. mim reads the metadata of the collection."""
    metafile = yaml.safe_load((ROOT / path).read_text())
    (collection,) = metafile['Collections']
    assert {'Training Data', 'Architecture'} <= collection['Metadata'].keys()
    assert not [model['Name'] for model in metafile['Models'] if 'Weights' in model]
    with_results = [model['Name'] for model in metafile['Models'] if 'Results' in model]
    assert all(name.endswith('_digits') for name in with_results)
