import mmrazor
import pytest
import torch
from mmengine.utils import digit_version
from mmrazor.registry import MODELS
from torch.ao.quantization import fuser_method_mappings

from skd_mmrazor.compat import quantization

from ..conftest import run_python

pytestmark = pytest.mark.skipif(
    hasattr(fuser_method_mappings, 'reverse2'), reason='this torch has what mmrazor needs'
)


def test_mmrazor_alone_still_fails():
    """The reason for this module is still there."""
    output = run_python('-c', 'import mmrazor.models', check=False)
    assert '`torch>=1.13` is not installed properly' in output


def test_the_plugin_can_be_imported_after_mmrazor_failed():
    run_python(
        '-c',
        """
try:
    import mmrazor.models
except ImportError:
    pass
import skd_mmrazor
from mmrazor.registry import MODELS
assert MODELS.get('SingleTeacherDistill') is not None
""",
    )


def test_no_other_thread_sees_another_torch():
    run_python(
        '-c',
        """
import threading, time, torch
from mmengine.utils import digit_version
before, seen, done = torch.__version__, set(), threading.Event()
def watch():
    while not done.is_set():
        seen.add((torch.__version__, digit_version(torch.__version__)))
        time.sleep(0.0005)
thread = threading.Thread(target=watch)
thread.start()
import skd_mmrazor
done.set()
thread.join()
assert seen == {(before, digit_version(before))}, seen
""",
    )


def test_the_stand_in_tells_the_truth_afterwards():
    from mmrazor.models.quantizers import native_quantizer

    version = torch.__version__
    assert mmrazor.digit_version is digit_version
    assert native_quantizer.digit_version is not digit_version
    assert native_quantizer.digit_version(version) == digit_version(version)


def test_an_exception_restores_everything():
    def fail():
        with quantization._old_torch_for_mmrazor():
            held.append(mmrazor.digit_version)
            assert held[0](torch.__version__) == digit_version('1.12.1')
            assert held[0]('2.0.0') == digit_version('2.0.0')
            raise KeyError

    held = []
    with pytest.raises(KeyError):
        fail()
    assert mmrazor.digit_version is digit_version
    assert held[0](torch.__version__) == digit_version(torch.__version__)


def test_quantization_says_in_one_sentence_why_it_is_off():
    cfg = dict(type='mmrazor.TorchNativeQuantizer', global_qconfig=dict())
    with pytest.raises(
        ImportError, match=r'TorchNativeQuantizer cannot be built: .* no longer has'
    ):
        MODELS.build(cfg)


def test_mmrazors_own_registration_works_afterwards():
    run_python(
        '-c',
        'import skd_mmrazor; from mmrazor.utils import register_all_modules; '
        'register_all_modules(False)',
    )
