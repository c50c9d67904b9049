"""DenseNet121 against MONAI's own."""

import subprocess
import sys

import pytest
import torch
from monai.networks.nets.densenet import DenseNet121 as MonaiDenseNet121

from genovox.core.errors import UsageError
from genovox.models.densenet import DenseNet121


def renamed(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """MONAI's names to ours."""
    return {
        name.replace("features.", "encoder.").replace("class_layers.out.", "fc."): value
        for name, value in state.items()
    }


@pytest.mark.parametrize(("channels", "shape"), [(1, (64, 32, 48)), (3, (33, 47, 61))])
def test_equals_monais(channels: int, shape: tuple[int, int, int]) -> None:
    torch.manual_seed(channels)
    theirs = MonaiDenseNet121(spatial_dims=3, in_channels=channels, out_channels=1)
    x = torch.randn(2, channels, *shape)
    with torch.no_grad():
        # Moves the running statistics away from 0 and 1, so that the norms take part in the comparison.
        theirs.train()(x)
        ours = DenseNet121(channels)
        ours.load_state_dict(renamed(theirs.state_dict()), strict=True)
        logits, expected = ours.eval()(x), theirs.eval()(x)
        maps = ours.features(x)
    torch.testing.assert_close(logits, expected.squeeze(1), rtol=1e-4, atol=1e-5)
    assert maps.shape == (2, 1024, *(-(-side // 4) // 8 for side in shape))


def test_starts_from_the_weights_of_monais() -> None:
    torch.manual_seed(3)
    theirs = renamed(MonaiDenseNet121(spatial_dims=3, in_channels=2, out_channels=1).state_dict())
    torch.manual_seed(3)
    ours = DenseNet121(2).state_dict()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


@pytest.mark.parametrize(("side", "cells"), [(32, 1), (60, 1), (61, 2), (64, 2), (93, 3)])
def test_refuses_to_train_on_one_cell_and_on_no_more(side: int, cells: int) -> None:
    with torch.device("meta"):
        network = DenseNet121(1).train()
        x = torch.zeros(1, 1, side, 32, 32)
        if cells == 1:
            with pytest.raises(UsageError, match=f"batch of 1 volume of {side}x32x32; use batches of 2"):
                network.features(x)
            network.encoder.eval()
        assert network.features(x).shape == (1, 1024, cells, 1, 1)


def test_other_networks_do_without_monai() -> None:
    code = (
        "import sys; from genovox.models.build import build_network; build_network('light-separable', 1);"
        "assert 'monai' not in sys.modules; build_network('densenet121', 1); assert 'monai' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
