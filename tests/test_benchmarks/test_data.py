import re

import pytest

from benchmarks.speed import data
from skd_mmrazor.datasets import glyph_images

from ..conftest import ROOT


@pytest.mark.nightly
def test_every_way_to_read_data_is_timed(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('CIFAR100_DATASET', '')  # Set by the benchmark, and restored.
    monkeypatch.setattr(glyph_images, 'PER_CLASS', dict(train=5, test=1))
    config = ROOT / 'configs/cifar100/resnet20_240e_cifar100.py'
    arguments = ['--rounds', '2', '--batches', '1', '--iterations', '2']
    monkeypatch.setattr('sys.argv', ['data', '--config', str(config), *arguments])
    data.main()
    rows = [line.split(' | ') for line in capsys.readouterr().out.splitlines() if '| ' in line]
    rows = [row for row in rows if row[0].removeprefix('| ') in data.CONTENDERS]
    assert [row[0].removeprefix('| ') for row in rows] == [*data.CONTENDERS] * 2
    assert all(int(row[1].replace(',', '')) > 0 for row in rows[:3])
    for _, whole, waiting, share in rows[3:]:
        share = float(re.match(r'[\d.]+', share)[0])
        assert share == pytest.approx(100 * float(waiting) / float(whole), abs=0.2)
        assert 0 < share < 100
