import pytest

from genovox.core import errors


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.UsageError, 2),
        (errors.StudyError, 2),
        (errors.MissingExtraError, 2),
        (errors.DataError, 3),
        (errors.ImageError, 3),
        (errors.TableError, 3),
        (errors.SingleClassError, 3),
        (errors.DiskFullError, 3),
        (errors.LeakageError, 4),
    ],
)
def test_exit_codes(kind: type[errors.GenovoxError], code: int) -> None:
    error = kind("what, where, next step")
    assert error.exit_code == code
    assert str(error) == "what, where, next step"
    assert isinstance(error, errors.GenovoxError)


def test_a_gate_is_named() -> None:
    assert errors.GateError("exclusions", "message").check == "exclusions"
    assert errors.GateError("exclusions", "message").exit_code == 4
    assert errors.LeakageError("message").check == "fold-disjointness"
