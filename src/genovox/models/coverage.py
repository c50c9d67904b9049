"""The report of weights loaded: what matched, what did not, and the share of the encoder that came from the file."""

import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

MINIMUM_PERCENT = 95
_WIDTH = 80
STATISTICS = ("running_mean", "running_var")
PROJECTION = ".downsample.0.weight"


@dataclass(frozen=True)
class Coverage:
    """What a network took from a file.

    Attributes:
        source: The file.
        part: Modules of the encoder asked for; empty: all of it.
        head: Whether the head was asked for.
        matched: Names taken, the reshaped among them.
        reshaped: Names taken with the channels adapted.
        missing: Names asked for that the file does not have.
        misfits: Name, the network's shape and the file's, where they differ.
        unexpected: Names of the file, without prefixes, that were not asked for.
        parameters: Parameters asked for: of the encoder, or of the part of it.
        parameters_matched: Those of them that came from the file.
        encoder_parameters: Parameters of the whole encoder, all but the head; no running statistics.
        statistics: Running means and variances of norms asked for, counted as tensors.
        statistics_matched: Those of them that came from the file.
    """

    source: str
    part: tuple[str, ...]
    head: bool
    matched: tuple[str, ...]
    reshaped: tuple[str, ...]
    missing: tuple[str, ...]
    misfits: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    unexpected: tuple[str, ...]
    parameters: int
    parameters_matched: int
    encoder_parameters: int
    statistics: int
    statistics_matched: int

    @property
    def percent(self) -> float:
        """Share of the parameters asked for, 0 to 100, rounded down to 0.1 so that 95.0 is never less."""
        return self.parameters_matched * 1000 // max(self.parameters, 1) / 10

    @property
    def suffices(self) -> bool:
        """Whether at least 95% of the parameters asked for came from the file."""
        return 0 < self.parameters * MINIMUM_PERCENT <= self.parameters_matched * 100

    @property
    def is_whole(self) -> bool:
        """Whether all that was asked for is as the file has it: a frozen encoder does not make up for what is not."""
        return not (self.missing or self.misfits or self.warnings)

    @property
    def scope(self) -> str:
        """What was asked for, in words."""
        return f"the part {', '.join(self.part)}" if self.part else "the encoder's parameters"

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader must know although enough matched."""
        lines = []
        tops = {name.split(".")[0] for name in self.matched}
        asked = [name for name in self.unexpected if name.split(".")[0] in tops and is_within(name, self.part)]
        absent, extra = _blocks(self.missing), _blocks(asked)
        kept = _blocks(self.matched) + _blocks([name for name, *_ in self.misfits])
        if absent and not kept and not extra:
            lines.append(
                f"the file's shortcuts are of type A (no parameters), this network's of type B: {len(absent)} "
                "projections stay as built"
            )
        if extra and not kept and not absent:
            lines.append(
                f"the file's shortcuts are of type B, this network's of type A: {len(extra)} projections of the file "
                "are not used, so deeper maps differ from those the weights were trained on"
            )
        fresh = [name for name in self.missing if ".downsample." not in name and not name.endswith(STATISTICS)]
        if fresh:
            lines.append(f"not in the file, learnt from nothing: {count_more(fresh)}")
        biases = [name for name in asked if name.endswith("downsample.0.bias")]
        if biases and kept:
            lines.append(
                f"biases before norms are not used: {count_more(biases)}; training adapts, a frozen encoder not"
            )
        if self.statistics_matched < self.statistics:
            lines.append(
                f"{self.statistics - self.statistics_matched} running statistics are not in the file; train before "
                "scoring, a frozen encoder would be wrong"
            )
        return tuple(lines)

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON holds it."""
        return {
            **asdict(self),
            "misfits": [{"name": name, "network": own, "file": found} for name, own, found in self.misfits],
            "percent": self.percent,
            "warnings": self.warnings,
        }

    def describe_gap(self) -> str:
        """Share, parameters, and the first names that are missing or do not fit."""
        gaps = [f"{name} is {_shape(found)}, not {_shape(own)}" for name, own, found in self.misfits]
        if self.missing:
            gaps.append(f"missing: {count_more(self.missing)}")
        more = f" (and {len(gaps) - 3} more of other shapes)" if len(gaps) > 3 else ""
        shown = [*gaps[:2], gaps[-1]] if len(gaps) > 2 else gaps
        return f"{self.percent:.1f}% ({self.parameters_matched:,} of {self.parameters:,}; {', '.join(shown)}{more})"

    def __str__(self) -> str:
        """Rows of at most 80 columns."""
        whole = f" (the encoder has {self.encoder_parameters:,})" if self.part else ""
        rows = {
            "weights": self.source,
            "parameters": f"{self.parameters_matched:,} of {self.parameters:,} of {self.scope}, "
            f"{self.percent:.1f}%{whole}",
            "statistics": f"{self.statistics_matched} of {self.statistics} running means and variances",
            "matched": f"{len(self.matched)} tensors",
            "reshaped": count_more(self.reshaped),
            "missing": count_more(self.missing),
            "other shape": count_more([name for name, *_ in self.misfits]),
            "unexpected": count_more(self.unexpected),
            "head": "taken from the file" if self.head else "as built, never taken unless asked",
        }
        rows |= {f"warning {number}": text for number, text in enumerate(self.warnings, 1)}
        return "\n".join(
            textwrap.fill(
                text,
                _WIDTH,
                initial_indent=f"{name:<12} ",
                subsequent_indent=" " * 13,
                break_on_hyphens=False,
            )
            for name, text in rows.items()
        )


def count_more(names: Sequence[str], shown: int = 2) -> str:
    """The first names and how many more there are; ``none`` for none."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return f"{', '.join(names[:shown])}{more}" if names else "none"


def is_within(name: str, modules: Sequence[str]) -> bool:
    """Whether a tensor belongs to one of these modules; to no modules named, every one does."""
    return not modules or any(name.startswith(f"{module}.") for module in modules)


def _blocks(names: Sequence[str]) -> list[str]:
    """Blocks with a projection on their shortcut."""
    return sorted({name.split(".downsample.")[0] for name in names if name.endswith(PROJECTION)})


def _shape(sides: tuple[int, ...]) -> str:
    return "x".join(map(str, sides)) or "a number"
