import pytest
import torch

from genovox.anatomy.network import BrainNetwork


def test_shapes_and_parameters() -> None:
    torch.manual_seed(0)
    network = BrainNetwork().eval()
    with torch.inference_mode():
        logits = network(torch.randn(1, 1, 16, 32, 48))
    assert logits.shape == (1, 2, 16, 32, 48)
    assert torch.isfinite(logits).all()
    # The published file's 65.4 MB of float32, less its two heads for deep supervision and its running statistics.
    assert sum(parameter.numel() for parameter in network.parameters()) == pytest.approx(16.35e6, rel=0.01)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_the_gpu_gives_what_the_cpu_gives() -> None:
    torch.manual_seed(0)
    network, scan = BrainNetwork().eval(), torch.randn(1, 1, 32, 32, 32)
    with torch.inference_mode():
        expected = network(scan).softmax(1)
        made = network.cuda()(scan.cuda()).softmax(1).cpu()
    torch.testing.assert_close(made, expected, atol=1e-3, rtol=0)
