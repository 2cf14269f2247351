"""Metafiles promise nothing that was not measured."""

import csv
import re
import statistics
from collections import defaultdict

import pytest
import yaml

from .conftest import ROOT

METAFILES = yaml.safe_load((ROOT / 'model-index.yml').read_text())['Import']
RESULTS = ROOT / 'benchmarks' / 'accuracy' / 'results'


def measured():
    """By config, the accuracies of all seeds in the files of results, the newest first."""
    found = {}
    for name in ('digits.csv', 'whole_training/digits.csv'):
        rows = defaultdict(list)
        with open(RESULTS / name) as file:
            for row in csv.DictReader(file):
                rows[row['config']].append(float(row['value']))
        found = {**rows, **found}
    return found


def in_readme():
    """By config, the row of the table in the README of the digits."""
    text = (ROOT / 'configs/digits/README.md').read_text()
    rows = re.findall(r'\| \[.*\]\((.*)\.py\) \| (\d+) \| ([\d.]+)(?: ± ([\d.]+))? \|', text)
    return {name: cells for name, *cells in rows}


def test_results_are_those_of_the_files():
    models = yaml.safe_load((ROOT / 'configs/digits/metafile.yml').read_text())['Models']
    files, table = measured(), in_readme()
    for model in models:
        (result,) = model['Results']
        metrics, name = result['Metrics'], model['Name']
        found = [str(metrics['Seeds']), f'{metrics["Top 1 Accuracy"]:.2f}']
        if metrics['Seeds'] > 1:
            found.append(f'{metrics["Standard Deviation"]:.2f}')
            values = files[name]
            mean, spread = statistics.mean(values), statistics.stdev(values)
            assert found == [str(len(values)), f'{mean:.2f}', f'{spread:.2f}']
        assert found == [cell for cell in table[name] if cell]
    assert len(models) == len(table) == 6


@pytest.mark.parametrize('path', METAFILES)
def test_only_what_was_trained_has_results(path):
    """And none has weights, since none are published. mim reads the metadata of the collection."""
    metafile = yaml.safe_load((ROOT / path).read_text())
    (collection,) = metafile['Collections']
    assert {'Training Data', 'Architecture'} <= collection['Metadata'].keys()
    assert not [model['Name'] for model in metafile['Models'] if 'Weights' in model]
    with_results = [model['Name'] for model in metafile['Models'] if 'Results' in model]
    assert all(name.endswith('_digits') for name in with_results)
