"""Weights of a file into a network: what fits, what does not, and no weight half loaded without a word."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

import torch
from torch import Tensor, nn

from genovox.core.errors import DataError, UsageError
from genovox.models.blocks import Network, Shortcut
from genovox.models.build import NETWORKS
from genovox.models.coverage import MINIMUM_PERCENT, PROJECTION, STATISTICS, Coverage, count_more, is_within

PREFIXES = ("module.", "_orig_mod.", "encoder.", "backbone.", "model.", "net.")
"""What wrappers put before a name: DataParallel, ``torch.compile``, and the usual names of a network in another."""

HEAD = "fc"
_COUNTER = "num_batches_tracked"


def fit_weights(
    network: nn.Module,
    state: Mapping[str, Tensor],
    *,
    source: str = "the file",
    part: Sequence[str] = (),
    head: bool = False,
) -> Coverage:
    """Put a file's weights into a network, all that fit or none.

    Names are compared without the prefixes of ``PREFIXES``, taken from the front one after another (but for one that
    the network itself has); a tensor fits by name and shape, the first convolution also with other channels
    (``adapt_channels``). The percentage counts parameters of the encoder, which is all but the head ``fc``; running
    statistics of norms are taken and listed with them, but counted on their own, as published sizes leave them out;
    ``num_batches_tracked`` is neither taken nor counted.

    Two things are refused: under 95% of the encoder's parameters matched, and over 5% of the file's own encoder left
    over (a resnet34's weights hold a whole resnet18). Naming a part of the encoder asks both of that part alone, and
    the rest of the network stays as it was built.

    Args:
        network: Changed in place on success, untouched on error.
        state: Tensors by name, as ``read_weights`` gives them.
        source: What the report and errors call the file.
        part: Modules of the encoder to take, such as ``("conv1", "bn1", "layer1")`` or ``("layer2.0",)``; empty: all.
        head: Take the head too, for weights of the same study; it must fit entirely.

    Raises:
        UsageError: If ``part`` names no module of the encoder.
        DataError: If too little fits, two tensors have one name, or a weight is not finite.
    """
    own = {name: value for name, value in network.state_dict().items() if not name.endswith(_COUNTER)}
    _check_part(part, own)
    tops = {name.split(".")[0] for name in own}
    found = _strip_prefixes(state, tops, source)
    wanted = {
        name: value
        for name, value in own.items()
        if (head and _is_head(name)) or (not _is_head(name) and is_within(name, part))
    }
    first = _first_convolution(network)
    taken: dict[str, Tensor] = {}
    for name, value in wanted.items():
        if name in found and found[name].shape == value.shape:
            taken[name] = found[name]
        elif name in found and name == first and _is_adaptable(found[name], value):
            taken[name] = adapt_channels(found[name], value.shape[1])
    coverage = _describe_fit(own, found, wanted, taken, source=source, part=part, head=head)
    left = _left_over(coverage, tops)
    _refuse_misfit(coverage, found, own, {name: found[name].numel() for name in left if not _is_statistic(name)})
    for name, value in taken.items():
        # One that is not finite makes the sum so.
        if not value.is_floating_point() or not bool(torch.isfinite(value.sum(dtype=torch.float32))):
            rule = "finite" if value.is_floating_point() else "floating-point numbers"
            raise DataError(f"weights must be {rule}, {name} of {source} is not; give another file")
    with torch.no_grad():
        for name, value in taken.items():
            wanted[name].copy_(value)
    return coverage


def find_shortcut(state: Mapping[str, Tensor], part: Sequence[str] = ()) -> Shortcut | None:
    """Type of a ResNet's shortcuts in a file: ``B`` where it holds projections, else ``A``.

    Args:
        state: Tensors by name, with or without prefixes.
        part: Modules that are taken from the file; where none of them has a shortcut the file says nothing: None.
    """
    if part and not any(module.startswith("layer") for module in part):
        return None
    return "B" if any(name.endswith(PROJECTION) for name in state) else "A"


def adapt_channels(weight: Tensor, channels: int) -> Tensor:
    """The first convolution's weight for another number of input channels.

    Equal numbers: as it is. Else each new channel gets the sum over the old ones divided by the new number: 1 to n
    repeats and divides by n, n to 1 sums, n to m repeats the mean, scaled by n / m. A volume whose channels are equal
    is answered as before.

    Args:
        weight: Shape (F, n, d, h, w).
        channels: m, 1 or more.

    Returns:
        Shape (F, m, d, h, w).

    References:
        Wang et al. (2016), doi:10.1007/978-3-319-46484-8_2, section 3.2 (mean over channels, repeated);
        Carreira & Zisserman (2017), doi:10.1109/CVPR.2017.502, section 2.4 (divided, so that the response stays).
    """
    if weight.shape[1] == channels:
        return weight
    total = weight.float().sum(dim=1, keepdim=True) / channels
    return total.expand(-1, channels, *weight.shape[2:]).to(weight.dtype)


def recognise_network(state: Mapping[str, Tensor]) -> str | None:
    """Name of the network whose encoder these weights are, by names and shapes; None if it is none of ours."""
    best, best_share = None, MINIMUM_PERCENT / 100
    for name in NETWORKS:
        network = _describe_network(name)
        own = {key: value for key, value in network.state_dict().items() if _is_weight(key)}
        found = {
            key: value
            for key, value in _strip_prefixes(state, {key.split(".")[0] for key in own}, "the file").items()
            if _is_weight(key) and key.split(".")[0] in {key.split(".")[0] for key in own}
        }
        first = _first_convolution(network)
        shared = sum(
            value.numel()
            for key, value in own.items()
            if key in found and (found[key].shape == value.shape or (key == first and _is_adaptable(found[key], value)))
        )
        share = shared / max(*(sum(value.numel() for value in side.values()) for side in (own, found)), 1)
        if share > best_share:
            best, best_share = name, share
    return best


@cache
def _describe_network(name: str) -> Network:
    """A network of one channel whose tensors have names and shapes, but no values."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        return NETWORKS[name](1)


def _strip_prefixes(state: Mapping[str, Tensor], tops: set[str], source: str) -> dict[str, Tensor]:
    prefixes = tuple(prefix for prefix in PREFIXES if prefix[:-1] not in tops)
    origin: dict[str, str] = {}
    for name in state:
        short = name
        while prefix := next((prefix for prefix in prefixes if short.startswith(prefix)), None):
            short = short.removeprefix(prefix)
        if short.endswith(_COUNTER):
            continue
        if short in origin:
            raise DataError(
                f"weights must have one tensor a name, {source} has {origin[short]} and {name} for {short}; "
                "save the network meant alone"
            )
        origin[short] = name
    return {short: state[name] for short, name in origin.items()}


def _check_part(part: Sequence[str], own: Iterable[str]) -> None:
    encoder = [name for name in own if not _is_head(name)]
    for module in part:
        if not any(is_within(name, (module,)) for name in encoder):
            modules = sorted({".".join(name.split(".")[:depth]) for name in encoder for depth in (1, 2)})
            nearest = difflib.get_close_matches(module, modules, n=1, cutoff=0)[0]
            raise UsageError(f"a part must be a module of the encoder, got {module!r}; did you mean {nearest!r}?")


def _is_head(name: str) -> bool:
    return name.split(".", maxsplit=1)[0] == HEAD


def _is_statistic(name: str) -> bool:
    return name.endswith(STATISTICS)


def _is_weight(name: str) -> bool:
    return not (_is_head(name) or _is_statistic(name) or name.endswith(_COUNTER))


def _first_convolution(network: nn.Module) -> str | None:
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv3d):
            return f"{name}.weight" if module.groups == 1 else None
    return None


def _is_adaptable(found: Tensor, own: Tensor) -> bool:
    return (
        found.ndim == own.ndim
        and found.shape[1] > 0
        and (found.shape[0], found.shape[2:])
        == (
            own.shape[0],
            own.shape[2:],
        )
    )


def _describe_fit(
    own: Mapping[str, Tensor],
    found: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    taken: Mapping[str, Tensor],
    *,
    source: str,
    part: Sequence[str],
    head: bool,
) -> Coverage:
    encoder = [name for name in wanted if not _is_head(name)]
    weights, statistics = ([name for name in encoder if _is_statistic(name) is kind] for kind in (False, True))
    return Coverage(
        source=source,
        part=tuple(part),
        head=head,
        matched=tuple(taken),
        reshaped=tuple(name for name, value in taken.items() if value is not found[name]),
        missing=tuple(name for name in wanted if name not in found),
        misfits=tuple(
            (name, tuple(wanted[name].shape), tuple(found[name].shape))
            for name in wanted
            if name in found and name not in taken
        ),
        unexpected=tuple(name for name in found if name not in wanted),
        parameters=sum(wanted[name].numel() for name in weights),
        parameters_matched=sum(wanted[name].numel() for name in weights if name in taken),
        encoder_parameters=sum(value.numel() for name, value in own.items() if _is_weight(name)),
        statistics=len(statistics),
        statistics_matched=sum(name in taken for name in statistics),
    )


def _left_over(coverage: Coverage, tops: set[str]) -> list[str]:
    """Names of the file's own encoder, as far as it was asked for, that the network has no place for."""
    return [
        name
        for name in coverage.unexpected
        if name.split(".")[0] in tops and not _is_head(name) and is_within(name, coverage.part)
    ]


def _refuse_misfit(
    coverage: Coverage, found: Mapping[str, Tensor], own: Mapping[str, Tensor], left: Mapping[str, int]
) -> None:
    head = [name for name in (*coverage.missing, *(name for name, *_ in coverage.misfits)) if _is_head(name)]
    if head:
        raise DataError(
            f"the head was asked for, {coverage.source} has no {head[0]} that fits; take the encoder alone or the "
            "weights of the same network"
        )
    if coverage.suffices and sum(left.values()) * MINIMUM_PERCENT <= coverage.parameters_matched * (
        100 - MINIMUM_PERCENT
    ):
        return
    whole = [
        top
        for top in dict.fromkeys(name.split(".")[0] for name in own if not _is_head(name))
        if all(name in coverage.matched for name in own if name.split(".")[0] == top)
        and not any(name.split(".")[0] == top for name in left)
    ]
    if coverage.suffices:
        rule = (
            f"{coverage.source} holds a larger network, {sum(left.values()):,} parameters more in "
            f"{count_more(list(left))}"
        )
    else:
        rule = f"{coverage.source} must fit {MINIMUM_PERCENT}% of {coverage.scope}, it fits {coverage.describe_gap()}"
    parts = f", or name the part meant: {', '.join(whole)} fit" if whole and not coverage.part else ""
    raise DataError(f"{rule}; {_guess_content(found)}{parts}")


def _guess_content(found: Mapping[str, Tensor]) -> str:
    name = recognise_network(found)
    if name:
        return f"the file looks like a {name}, use it with that network"
    ranks = {value.ndim for value in found.values()}
    if 4 in ranks and 5 not in ranks:
        return "its convolutions are 2D, use the weights of a 3D network"
    return f"its first tensors are {', '.join(list(found)[:3])}, use the weights of the same network"
