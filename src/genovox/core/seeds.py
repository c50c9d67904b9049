"""Seeds that depend on what is computed, never on the order in which it is computed."""

import hashlib


def derive_seed(study_seed: int, *parts: str | int) -> int:
    """Seed for one part of a study.

    Args:
        study_seed: The seed of the study file.
        parts: What the seed is for, such as ``("train", "light", 0, 3)``.

    Returns:
        An integer in [0, 2**63), the same on every machine.
    """
    text = "\x1f".join(str(part) for part in (study_seed, *parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
