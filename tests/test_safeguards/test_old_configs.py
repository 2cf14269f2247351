"""Configs of mmrazor 0.x are named, and docs/mmrazor_0x.md converts one."""

import re

import pytest
from mmengine.config import Config
from mmrazor.registry import MODELS

from ..conftest import ROOT, batch, classifier

OLD, NEW = re.findall(
    r'^```python\n(.*?)^```$', (ROOT / 'docs/mmrazor_0x.md').read_text(), re.DOTALL | re.MULTILINE
)


def read(tmp_path, text):
    models = f'student = {classifier(2)}\nteacher = {classifier(4)}\n'
    (tmp_path / 'config.py').write_text(models + text)
    return Config.fromfile(tmp_path / 'config.py')


@pytest.mark.parametrize(
    ('text', 'name'),
    [
        (OLD, r"algorithm has type='GeneralDistill'"),
        (OLD.replace('GeneralDistill', 'Mine'), r"algorithm has type='MMClsArchitecture'"),
        (
            "algorithm = dict(type='AutoSlim', distiller=dict(type='mmrazor.SelfDistiller'))",
            r"algorithm has type='SelfDistiller'",
        ),
        (OLD.replace('algorithm', 'model'), r"model has type='GeneralDistill'"),
    ],
)
def test_a_config_of_mmrazor_0_is_named(tmp_path, text, name):
    message = rf"config\.py': {name} of mmrazor 0\.x, expected .* docs/mmrazor_0x\.md"
    with pytest.raises(ValueError, match=message):
        read(tmp_path, text)


def test_the_converted_config_is_read_and_takes_a_step(tmp_path):
    cfg = read(tmp_path, NEW + '\nalgorithm = model')
    model = MODELS.build(cfg.model)
    model.train()
    losses = model(*batch(), mode='loss')
    assert {'student.loss', 'distill.loss_kl', 'distill.loss_hint'} <= losses.keys()
    losses['distill.loss_hint'].backward()
