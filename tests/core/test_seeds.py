from hypothesis import given
from hypothesis import strategies as st

from genovox.core.seeds import derive_seed

Parts = st.lists(st.one_of(st.integers(), st.text(st.characters(exclude_characters="\x1f"), max_size=8)), max_size=4)


def test_seeds_are_the_same_everywhere() -> None:
    assert derive_seed(7, "train", "light", 0, 3) == derive_seed(7, "train", "light", 0, 3)
    assert derive_seed(7) == 4359823973405836615  # sha256 of 7, first eight bytes, halved


@given(seed=st.integers(0, 2**31), first=Parts, second=Parts)
def test_other_parts_give_other_seeds(seed: int, first: list[str | int], second: list[str | int]) -> None:
    one, two = derive_seed(seed, *first), derive_seed(seed, *second)
    assert 0 <= one < 2**63
    assert (one == two) == ([str(part) for part in first] == [str(part) for part in second])


def test_parts_are_not_glued() -> None:
    assert derive_seed(1, "ab", "c") != derive_seed(1, "a", "bc")
    assert derive_seed(1, 12, 3) != derive_seed(1, 1, 23)
