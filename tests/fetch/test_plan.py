import importlib.util
from pathlib import Path

import pytest

from genovox.core.errors import MissingExtraError, TableError, UsageError
from genovox.fetch.plan import parse_roles, plan_fetch
from genovox.phases.names import DCE_ROLES, ROLES
from tests.fetch.conftest import Store

HAS_INDEX = all(importlib.util.find_spec(name) for name in ("idc_index_data", "pyarrow"))


@pytest.mark.parametrize(
    ("text", "roles"),
    [
        ("dce", DCE_ROLES),
        ("all", ROLES),
        (" DCE, t2 ,t2", (*DCE_ROLES, "t2")),
        ("adc", ("adc",)),
    ],
)
def test_roles(text: str, roles: tuple[str, ...]) -> None:
    assert parse_roles(text) == roles


@pytest.mark.parametrize(
    ("text", "words"),
    [("dec", 'did you mean "dce"'), ("zzzz", "use dce, all or some of pre"), (" , ", "names no role")],
)
def test_roles_that_are_none(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_roles(text)


def test_the_plan_says_what_would_come(store: Store) -> None:
    plan = plan_fetch("demo_breast", parse_roles("dce"), index=store.index)
    assert (plan.patients, plan.studies, len(plan.series)) == (2, 2, 4)
    assert plan.counts == {"pre": 2, "post": 2}
    assert plan.gigabytes == pytest.approx(0.000016)
    assert plan.licences == {"CC BY-NC 4.0": pytest.approx(0.000008), "CC BY 4.0": pytest.approx(0.000008)}
    assert plan.restricted == ["CC BY-NC 4.0"]
    assert plan.dois == ("10.1/demo",)
    assert plan.index == "index.csv"
    assert plan.series[0].folder == "DEMO-1/1.1/1.2.1"
    assert {role.role for role in plan.roles} == {"pre", "post", "t2"}


def test_the_first_patients_alone(store: Store) -> None:
    plan = plan_fetch("demo_breast", ("t2",), index=store.index, patients=1)
    assert [one.role.patient_id for one in plan.series] == ["DEMO-1"]
    assert {role.patient_id for role in plan.roles} == {"DEMO-1"}
    assert plan.restricted == ["CC BY-NC 4.0"]
    assert plan_fetch("demo_breast", ("dwi",), index=store.index).series == ()


@pytest.mark.parametrize(
    ("collection", "words"),
    [
        ("demo-breast", "no collection 'demo-breast' in index.csv; did you mean demo_breast"),
        ("zzzzzzzz", "ids are those of https"),
    ],
)
def test_collections_that_are_none(store: Store, collection: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        plan_fetch(collection, DCE_ROLES, index=store.index)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("00000001-0000-4000-8000-000000000000", "../../etc", "a series needs a crdc_series_uuid and an aws_bucket"),
        ("demo-bucket", "evil.com/x?", "a series needs a crdc_series_uuid and an aws_bucket"),
        ("aws_bucket", "bucket", "add aws_bucket"),
        ("1.2.1,", "x,", "SeriesInstanceUID must be a DICOM UID"),
        ("0.004", "huge", "series_size_MB must be a number from 0"),
    ],
)
def test_an_index_that_breaks_a_rule(store: Store, old: str, new: str, words: str) -> None:
    store.index.write_text(store.index.read_text().replace(old, new))
    with pytest.raises(TableError, match=words):
        plan_fetch("demo_breast", DCE_ROLES, index=store.index)


def test_ids_become_safe_folders(store: Store) -> None:
    store.index.write_text(store.index.read_text().replace("DEMO-1", "../A B").replace("DEMO-2", ".."))
    plan = plan_fetch("demo_breast", ("pre",), index=store.index)
    assert [one.folder.split("/", 1)[0] for one in plan.series] == ["_", "-A-B"]


@pytest.mark.skipif(HAS_INDEX, reason="the extra [fetch] is installed")
def test_the_packaged_index_is_an_extra() -> None:
    with pytest.raises(MissingExtraError, match=r"genovox fetch needs the extra \[fetch\]"):
        plan_fetch("tcga_brca", DCE_ROLES)


@pytest.mark.skipif(not HAS_INDEX, reason="the extra [fetch] is not installed: the packaged index is not read")
def test_the_packaged_index() -> None:
    plan = plan_fetch("duke_breast_cancer_mri", DCE_ROLES)
    assert plan.restricted == ["CC BY-NC 4.0"]
    assert (plan.patients, plan.counts) == (920, {"pre": 920, "post": 3183})
    with pytest.raises(UsageError, match="did you mean duke_breast_cancer_mri"):
        plan_fetch("duke-breast-cancer-mr", DCE_ROLES)
    with pytest.raises(UsageError, match="has no MR series"):
        plan_fetch("nlst", DCE_ROLES)


@pytest.mark.real_data
def test_a_published_table_in_place_of_the_package(real_data: Path) -> None:
    plan = plan_fetch("tcga_brca", DCE_ROLES, index=real_data / "tables" / "idc_tcga_brca_mr_series.csv.gz")
    assert (plan.patients, len(plan.series)) == (137, 347)
    assert plan.gigabytes == pytest.approx(33.6, abs=0.1)
    assert plan.restricted == []
    assert plan.dois == ("10.7937/k9/tcia.2016.ab2nazrp",)
