"""How fast a sample is augmented, beside the peers: the same transforms, each applied with certainty, one process.

``python benchmarks/augment.py [--threads 1] [--repeats 5]`` with ``torchio``, ``monai`` and ``batchgeneratorsv2``
installed beside genovox. Transforms: flip, affine, elastic, gamma, noise, blur, bias, ghosting, on one channel; what a
peer lacks is left out on both sides. Times are processor time of this process, the median over the repeats, peers and
genovox in turn. Elastic fields have the same spacing of control points where the peer has any, and their largest
displacement is the same; the RMS displacement of each side is measured and printed.
"""

import argparse
import json
import platform
import time
import warnings
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.metadata import version
from statistics import median
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch

from genovox.augment.artefacts import Bias, Ghosting
from genovox.augment.draws import AXES
from genovox.augment.intensity import Blur, Gamma, Noise
from genovox.augment.pipeline import Augmentation, Transform
from genovox.augment.spatial import Warp

DEGREES, SCALE, ELASTIC_VOXELS, SPACING_VOXELS = 10.0, 1.1, 6.0, 16.0
BLUR_VOXELS, GAMMA, NOISE = (0.4, 1.2), 1.35, 0.1
LACKS = {
    "torchio": (),
    "monai": ("ghosting",),
    "monai without elastic": ("ghosting", "elastic"),
    "batchgeneratorsv2": ("bias", "ghosting"),
}
Work = Callable[[torch.Tensor], torch.Tensor]


def build_ours(without: tuple[str, ...]) -> Work:
    scanner: dict[str, Transform] = {
        "bias": Bias(strength=0.3, probability=1),
        "ghosting": Ghosting(strength=0.5, probability=1),
        "blur": Blur(sd_voxels=BLUR_VOXELS[1], probability=1),
        "gamma": Gamma(factor=GAMMA, probability=1),
        "noise": Noise(relative_sd=NOISE, probability=1),
    }
    augmentation = Augmentation(
        name="benchmark",
        spatial=(
            Warp(
                flip_axes=AXES,
                flip_probability=1,
                rotation_degrees=DEGREES,
                scale_factor=SCALE,
                elastic_voxels=0 if "elastic" in without else ELASTIC_VOXELS,
                elastic_spacing_voxels=SPACING_VOXELS,
            ),
        ),
        scanner=tuple(transform for name, transform in scanner.items() if name not in without),
    )
    generator = torch.Generator().manual_seed(0)
    return lambda sample: augmentation(sample.unsqueeze(0), [generator])[0]


def build_torchio(side: int) -> Work:
    tio = import_module("torchio")

    points = round(side / SPACING_VOXELS) + 3
    transforms = tio.Compose(
        [
            tio.RandomFlip((0, 1, 2), flip_probability=1),
            tio.RandomAffine(scales=(1 / SCALE, SCALE), degrees=DEGREES),
            tio.RandomElasticDeformation(points, ELASTIC_VOXELS, locked_borders=0),
            tio.RandomBiasField(0.3),
            tio.RandomGhosting(),
            tio.RandomBlur(BLUR_VOXELS),
            tio.RandomGamma((-np.log(GAMMA), np.log(GAMMA))),
            tio.RandomNoise(std=(0, NOISE)),
        ]
    )
    return lambda sample: torch.as_tensor(transforms(sample))


def build_monai(side: int, *, elastic: bool = True) -> Work:
    mt = import_module("monai.transforms")

    radians = float(np.deg2rad(DEGREES))
    transforms = mt.Compose(
        [
            mt.RandFlip(prob=1, spatial_axis=(0, 1, 2)),
            mt.RandAffine(
                prob=1,
                rotate_range=(radians, radians, radians),
                scale_range=(SCALE - 1, SCALE - 1, SCALE - 1),
                padding_mode="border",
            )
            if not elastic
            # Rand3DElastic holds the affine: one resampling, the fastest way MONAI has for both.
            else mt.Rand3DElastic(
                sigma_range=(monai_sigma(), monai_sigma()),
                magnitude_range=(monai_magnitude(side), monai_magnitude(side)),
                prob=1,
                rotate_range=(radians, radians, radians),
                scale_range=(SCALE - 1, SCALE - 1, SCALE - 1),
                padding_mode="border",
            ),
            mt.RandBiasField(coeff_range=(-0.3, 0.3), prob=1),
            mt.RandGaussianSmooth(BLUR_VOXELS, BLUR_VOXELS, BLUR_VOXELS, prob=1),
            mt.RandAdjustContrast(prob=1, gamma=(1 / GAMMA, GAMMA)),
            mt.RandGaussianNoise(prob=1, std=NOISE),
        ]
    )
    return lambda sample: torch.as_tensor(transforms(sample))


def build_batchgenerators(side: int) -> Work:

    radians = float(np.deg2rad(DEGREES))
    transforms = [
        batchgenerators("spatial.spatial", "SpatialTransform")(
            (side,) * 3,
            0,
            random_crop=False,
            p_elastic_deform=1,
            elastic_deform_scale=SPACING_VOXELS / 2 / side,
            elastic_deform_magnitude=ELASTIC_VOXELS,
            p_rotation=1,
            rotation=(-radians, radians),
            p_scaling=1,
            scaling=(1 / SCALE, SCALE),
            p_synchronize_scaling_across_axes=1,
            padding_mode_image="border",
        ),
        batchgenerators("spatial.mirroring", "MirrorTransform")((0, 1, 2)),
        batchgenerators("noise.gaussian_blur", "GaussianBlurTransform")(BLUR_VOXELS, synchronize_axes=True),
        batchgenerators("intensity.gamma", "GammaTransform")(
            (1 / GAMMA, GAMMA), 0, synchronize_channels=True, p_per_channel=1, p_retain_stats=0
        ),
        batchgenerators("intensity.gaussian_noise", "GaussianNoiseTransform")((0, NOISE)),
    ]

    def work(sample: torch.Tensor) -> torch.Tensor:
        data: dict[str, Any] = {"image": sample.clone()}
        for transform in transforms:
            data = transform(**data)
        return torch.as_tensor(data["image"])

    return work


def batchgenerators(module: str, name: str) -> Any:
    return getattr(import_module(f"batchgeneratorsv2.transforms.{module}"), name)


def monai_sigma() -> float:
    """A Gaussian about as wide as a cubic B-spline of the spacing: SD spacing / sqrt(3)."""
    return SPACING_VOXELS / 3**0.5


def monai_magnitude(side: int) -> float:
    """MONAI scales smoothed uniform noise: the magnitude whose largest displacement is the others' on average."""
    smooth = import_module("monai.networks.layers").GaussianFilter(3, monai_sigma(), 3.0)
    noise = torch.rand(1, 3, side, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1
    largest = smooth(noise).abs().amax()
    return float(ELASTIC_VOXELS / largest)


def coordinates(side: int) -> torch.Tensor:
    line = torch.arange(side, dtype=torch.float32) - (side - 1) / 2
    return torch.stack(torch.meshgrid(line, line, line, indexing="ij"))


def measure_elastic(side: int) -> dict[str, dict[str, float]]:
    """RMS and largest displacement in voxels of each side's elastic transform alone, mean of three draws, inside."""
    mt = import_module("monai.transforms")
    tio = import_module("torchio")

    points = round(side / SPACING_VOXELS) + 3
    generator = torch.Generator().manual_seed(0)
    warp = Warp(elastic_voxels=ELASTIC_VOXELS, elastic_spacing_voxels=SPACING_VOXELS)
    magnitude = monai_magnitude(side)
    sides: dict[str, Work] = {
        "genovox": lambda place: warp(place, generator),
        "torchio": lambda place: torch.as_tensor(
            tio.RandomElasticDeformation(points, ELASTIC_VOXELS, locked_borders=0)(place)
        ),
        "monai": lambda place: torch.as_tensor(
            mt.Rand3DElastic((monai_sigma(),) * 2, (magnitude,) * 2, prob=1, padding_mode="border")(place)
        ),
        "batchgeneratorsv2": lambda place: torch.as_tensor(
            batchgenerators("spatial.spatial", "SpatialTransform")(
                (side,) * 3,
                0,
                random_crop=False,
                p_elastic_deform=1,
                elastic_deform_scale=SPACING_VOXELS / 2 / side,
                elastic_deform_magnitude=ELASTIC_VOXELS,
                padding_mode_image="border",
            )(image=place.clone())["image"]
        ),
    }
    place = coordinates(side)
    inner = (slice(None), *(slice(16, -16),) * 3)
    found = {}
    for name, work in sides.items():
        moved = [(work(place) - place)[inner] for _ in range(3)]
        found[name] = {
            "rms": round(float(np.mean([move.square().mean().sqrt() for move in moved])), 3),
            "largest": round(float(np.mean([move.abs().max() for move in moved])), 3),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(arguments.threads)
    result: dict[str, Any] = {
        "threads": arguments.threads,
        "clock": "process time" if arguments.threads == 1 else "wall time",
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("genovox", "torch", "torchio", "monai", "batchgeneratorsv2")},
        "elastic displacement, voxels": measure_elastic(96),
    }
    clock = time.process_time if arguments.threads == 1 else time.perf_counter
    builders: dict[str, Callable[[int], Work]] = {
        "torchio": build_torchio,
        "monai": build_monai,
        # MONAI smooths white noise in space, which takes most of its time: what is left without.
        "monai without elastic": partial(build_monai, elastic=False),
        "batchgeneratorsv2": build_batchgenerators,
    }
    for side in (96, 128):
        sample = torch.rand((1, side, side, side), generator=torch.Generator().manual_seed(0))
        for peer, build in builders.items():
            works = {peer: build(side), "genovox": build_ours(LACKS[peer])}
            times: dict[str, list[float]] = {name: [] for name in works}
            for work in works.values():
                work(sample)
            for _ in range(arguments.repeats):
                for name, work in works.items():
                    started = clock()
                    work(sample)
                    times[name].append(clock() - started)
            rates = {name: 1 / median(found) for name, found in times.items()}
            result[f"{side}^3, {peer}"] = {
                "left out on both sides": list(LACKS[peer]),
                "samples/s": {name: round(rate, 2) for name, rate in rates.items()},
                "ratio": round(rates["genovox"] / rates[peer], 2),
            }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
