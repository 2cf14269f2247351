import functools
import pickle
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import load_checkpoint
from packaging.version import Version

from skd_mmrazor import compat

pytestmark = pytest.mark.skipif(
    Version(torch.__version__) < Version('2.6'), reason='torch.load runs code before 2.6'
)


class Evil:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


def test_what_mmengine_saves_can_be_loaded(tmp_path):
    history = HistoryBuffer([1.0, 2.0, 4.0], [1, 1, 1])
    saved = dict(
        history=history,
        numbers=[np.float64(1.5), np.float32(2.5), np.int64(3), np.bool_(True)],
        arrays=[np.arange(3), np.ones((2, 2), np.float32)],
        state_dict=dict(weight=torch.ones(2)),
    )
    torch.save(saved, tmp_path / 'a.pth')
    loaded = torch.load(tmp_path / 'a.pth')
    assert loaded['history'].mean() == history.mean()
    assert loaded['history'].statistics('max') == 4.0
    assert loaded['numbers'] == saved['numbers']
    np.testing.assert_equal(loaded['arrays'], saved['arrays'])


def test_code_does_not_run(tmp_path):
    torch.save(dict(state_dict=dict(), meta=Evil(tmp_path / 'pwned')), tmp_path / 'evil.pth')
    with pytest.raises(pickle.UnpicklingError):
        load_checkpoint(torch.nn.Linear(2, 2), str(tmp_path / 'evil.pth'))
    assert not (tmp_path / 'pwned').exists()


class Reach:
    """Asks for an attribute through the getattr that mmengine's history needs."""

    def __init__(self, owner, name):
        self.arguments = owner, name

    def __reduce__(self):
        return getattr, self.arguments


@pytest.mark.parametrize(
    'arguments', [(HistoryBuffer, '__init__'), (np.ndarray, 'tofile'), (HistoryBuffer, 'update')]
)
def test_attributes_are_out_of_reach(tmp_path, arguments):
    torch.save(Reach(*arguments), tmp_path / 'evil.pth')
    with pytest.raises(pickle.UnpicklingError, match='may not read attribute'):
        torch.load(tmp_path / 'evil.pth')


def test_code_that_comes_by_url_does_not_run_either(tmp_path, monkeypatch):
    """With the safeguards."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    torch.save(dict(meta=Evil(tmp_path / 'pwned')), tmp_path / 'evil.pth')
    torch.save(dict(state_dict=torch.nn.Linear(2, 2).state_dict()), tmp_path / 'good.pth')
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f'http://127.0.0.1:{server.server_port}'
        load_checkpoint(torch.nn.Linear(2, 2), f'{url}/good.pth')
        with pytest.raises(pickle.UnpicklingError, match=f"^'{url}/evil.pth' cannot be read"):
            load_checkpoint(torch.nn.Linear(2, 2), f'{url}/evil.pth')
        server.shutdown()
    assert not (tmp_path / 'pwned').exists()


def test_applying_twice_changes_nothing():
    before = torch.serialization.get_safe_globals()
    compat.apply()
    assert torch.serialization.get_safe_globals() == before
