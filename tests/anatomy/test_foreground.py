import numpy as np
import pytest

from genovox.anatomy.body import find_body
from genovox.anatomy.foreground import find_foreground
from genovox.core.errors import ImageError, MissingExtraError
from genovox.core.volume import Volume


def _box() -> Volume:
    array = np.zeros((1, 30, 30, 30), np.float32)
    array[:, 8:22, 6:20, 7:23] = 100
    return Volume(array, np.diag([4.0, 4.0, 4.0, 1.0]))


def test_everything_and_the_body() -> None:
    assert find_foreground(_box(), "none").all()
    np.testing.assert_array_equal(find_foreground(_box(), "body"), find_body(_box()))


@pytest.mark.parametrize("kind", ["body", "breast"])
def test_nothing(kind: str) -> None:
    with pytest.raises(ImageError, match=r'or use foreground = .*"none"|use foreground = "body" or "none"'):
        find_foreground(Volume(np.ones((1, 30, 30, 30), np.float32), np.diag([4.0, 4.0, 4.0, 1.0])), kind)


def test_the_brain_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genovox.anatomy.brain.missing_modules", lambda extra: [extra])
    with pytest.raises(MissingExtraError, match=r"needs the extra \[brain\]"):
        find_foreground(_box(), "brain")


def test_the_brain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genovox.anatomy.foreground.find_brain", lambda volume: volume.array[0] > 50)
    assert find_foreground(_box(), "brain").sum() == 14 * 14 * 16
