"""mmengine's ``compile``, which compiles the whole ``train_step``."""

import pytest
import torch
from packaging.version import Version

from .runs import logged, train, weights

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        Version(torch.__version__) < Version('2.1'), reason='it cannot compile on Python 3.11'
    ),
]


@pytest.mark.parametrize(
    'attend_over', ['samples', pytest.param('classes', marks=pytest.mark.nightly)]
)
def test_compiled_training_is_eager_training(tmp_path, attend_over):
    """Recorders record, the simplifier trains, losses and weights are the same."""
    torch._dynamo.reset()
    counters = torch._dynamo.utils.counters
    counters.clear()
    simplifier = dict(attend_over=attend_over)
    eager = train(tmp_path / 'eager', simplifier=simplifier)
    assert not counters['stats']
    compiled = train(tmp_path / 'c', simplifier=simplifier, compile=dict(backend='aot_eager'))
    assert counters['stats']['unique_graphs'] > 0
    for key in ('student.loss', 'distill.loss_kl', 'distill.simplified_entropy', 'distill.lam'):
        assert logged(compiled, key) == pytest.approx(logged(eager, key), rel=1e-4, abs=1e-7), key
    assert logged(compiled, 'distill.lam')[-1] != 0
    torch.testing.assert_close(weights(compiled.model), weights(eager.model), rtol=1e-4, atol=1e-6)
