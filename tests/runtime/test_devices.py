"""Equal runs give equal bits on the CPU, a missing GPU is told, and precision follows the hardware where asked to."""

import pytest
import torch

from handloom.runtime import devices
from handloom.runtime.devices import chosen_precision, computing_on
from handloom.runtime.errors import InputError


@pytest.mark.parametrize(
    ("flags", "taken"), [({"avx2", "amx_bf16"}, "bfloat16"), ({"avx512f"}, "float32"), (set(), "float32")]
)
def test_half_precision_is_taken_where_the_processor_has_it_and_the_log_tells(
    flags: set[str], taken: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Protects processors that emulate it from adaptations nine times slower."""
    monkeypatch.setattr(devices, "_processor_flags", lambda: flags)
    assert chosen_precision("auto", "cpu") == taken
    assert f"precision: {taken} (by the processor's flags)" in capsys.readouterr().err
    assert (chosen_precision("float32", "cpu"), chosen_precision("bfloat16", "cpu")) == ("float32", "bfloat16")
    assert capsys.readouterr().err == ""


def test_a_block_on_the_cpu_is_deterministic_and_leaves_no_trace() -> None:
    before = torch.are_deterministic_algorithms_enabled()
    with computing_on("cpu") as device:
        assert device.type == "cpu"
        assert torch.are_deterministic_algorithms_enabled()
    assert torch.are_deterministic_algorithms_enabled() == before


def test_a_gpu_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match=r"device: is cuda:99, but PyTorch .* finds \d+ CUDA devices; set device: cpu"):
        computing_on("cuda:99").__enter__()
