"""The comparison with the reference codes, where checkouts of them are named.

``MDISTILLER=… REPDISTILLER=… OVERHAUL=… pytest tests/test_parity.py``
"""

import os
import re
from pathlib import Path

import pytest

from benchmarks.parity.mdistiller import MDISTILLER, MDistiller, Overhaul
from benchmarks.parity.ours import FEATURES, Ours, make_batch
from benchmarks.parity.references import import_from
from benchmarks.parity.repdistiller import REPDISTILLER, RepDistiller

from .conftest import run_python

CHECKOUTS = {
    name: Path(os.environ[name]) if name in os.environ else None
    for name in ('MDISTILLER', 'REPDISTILLER', 'OVERHAUL')
}
CASES = [
    *[('MDISTILLER', method) for method in MDISTILLER],
    *[('REPDISTILLER', method) for method in REPDISTILLER],
    *[('REPDISTILLER', f'{method}-kd') for method in REPDISTILLER if method != 'kd'],
    ('OVERHAUL', 'ofd'),
]
# Smaller than the pair of the feature methods, where the method has configs for it.
SMALL = 'resnet56_resnet20'


def build(name, method):
    if not CHECKOUTS[name]:
        pytest.skip(f'needs a checkout: {name}=…')
    pair = SMALL if method in ('kd', 'dkd') else FEATURES
    if name == 'OVERHAUL':
        reference = Overhaul(CHECKOUTS[name], CHECKOUTS['MDISTILLER'], pair)
    else:
        kind = MDistiller if name == 'MDISTILLER' else RepDistiller
        reference = kind(CHECKOUTS[name], method, pair)
    ours = Ours(method, pair, reference)
    reference.double()
    return reference, ours


@pytest.mark.parametrize(('name', 'method'), CASES)
def test_terms_and_a_step_are_the_references(name, method):
    reference, ours = build(name, method)
    batch = make_batch(1, 4)
    assert ours.compute(batch) == pytest.approx(reference.compute(batch), rel=1e-12)
    if name != 'OVERHAUL':
        reference, ours = build(name, method)
        reference.step(batch)
        ours.step(batch)
        assert max(ours.compare(reference)) < 1e-12
        # The comparison can fail.
        ours.step(make_batch(2, 4))
        assert ours.compare(reference)[0] > 1e-6


def test_a_folder_that_is_no_checkout_is_refused(tmp_path):
    with pytest.raises(SystemExit, match=f'{re.escape(str(tmp_path))}.*expected a checkout'):
        import_from(tmp_path, ['mdistiller.models'])


def test_a_command_asks_for_a_checkout():
    output = run_python('-m', 'benchmarks.parity.training_steps', returncode=2)
    assert 'expected a checkout: --mdistiller, --repdistiller or both' in output
