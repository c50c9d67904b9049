"""``genovox labels``: from genetic tests to a table of labels with its evidence."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genovox.cli.options import Json

if TYPE_CHECKING:
    import pandas as pd

    from genovox.genetics.evidence import GeneticTests

_WIDTH = 80
_SHOWN_CHANGES = 20


def labels(
    tests: Annotated[
        list[Path] | None,
        typer.Argument(metavar="TESTS...", help="Laboratory tables (CSV, TSV), MAF, VCF or BCF.", show_default=False),
    ] = None,
    classifications: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="A dated ClinVar variant_summary or VCF, or a curated sheet; may be repeated."
        ),
    ] = None,
    genes: Annotated[str, typer.Option(help="Whose carriers are 1; a 0 needs all of them tested.")] = "BRCA1,BRCA2",
    vus: Annotated[str, typer.Option(help="A VUS: exclude, or negative (counts as none found).")] = "exclude",
    other_genes: Annotated[str, typer.Option(help="Carriers of another gene: exclude, or negative.")] = "exclude",
    panels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What a panel reads: panel,gene,scope,cnv.")
    ] = None,
    coverage: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="BED of what was read, for VCF; may be repeated."),
    ] = None,
    minimum_review: Annotated[
        int, typer.Option(min=0, max=4, help="ClinVar stars below which a class is passed over.")
    ] = 1,
    precedence: Annotated[
        str,
        typer.Option(metavar="KIND,...", help="Whose class counts: curated, clinvar, laboratory in your order."),
    ] = "",
    calls_origin: Annotated[
        str, typer.Option(help="What VCF files hold where nothing says so: unknown or germline.")
    ] = "unknown",
    out: Annotated[
        Path | None, typer.Option(help="Table to write; default labels.csv (with --diff: none).", show_default=False)
    ] = None,
    diff: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            metavar="OLD NEW", help="Who changes between two releases, or (without TESTS) two tables of labels."
        ),
    ] = None,
    *,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a table that is there.")] = False,
    as_json: Json = False,
) -> None:
    """Derive labels from genetic tests: 1 carrier, 0 none found. 0 is tested in full, empty has its reason.

    Absence is never negative. Which columns and files, and every rule with its source: docs/labels.md.

    Example: genovox labels genetic_tests.csv --classifications variant_summary_2026-11.txt.gz --out labels.csv
    """
    from genovox.core.artifacts import write_table
    from genovox.core.errors import UsageError
    from genovox.core.log import start_log
    from genovox.genetics.evidence import Sources, read_genetic_tests

    start_log()
    target = out or (None if diff else Path("labels.csv"))
    if target and target.exists() and not overwrite:
        raise UsageError(f"{target} would be replaced; use --overwrite, or --out for another file")
    if not tests and not diff:
        raise UsageError("genovox labels takes at least one table or file of tests; see genovox labels --help")
    _check_paths(
        [*(tests or []), *(classifications or []), *([panels] if panels else []), *(coverage or []), *(diff or ())]
    )

    def read(*releases: Path) -> "GeneticTests":
        sources = Sources(
            tests or [],
            [gene for gene in genes.split(",") if gene],
            _choose("--vus", vus, ("exclude", "negative")),
            _choose("--other-genes", other_genes, ("exclude", "negative")),
            [*(classifications or []), *releases],
            panels,
            coverage or [],
            minimum_review,
            tuple(_choose("--precedence", kind, ("curated", "clinvar", "laboratory")) for kind in _split(precedence)),
            _choose("--calls-origin", calls_origin, ("unknown", "germline")),
        )
        return read_genetic_tests(sources)

    if diff:
        from genovox.genetics.comparison import compare_labels, read_label_table

        old, new = (read(path).as_table() if tests else read_label_table(path) for path in diff)
        table = compare_labels(old, new)
        _show_changes(table, len({*old["patient_id"], *new["patient_id"]}), as_json=as_json)
    else:
        found = read()
        table = found.as_table()
        _show_labels(found, as_json=as_json)
    if target:
        write_table(target, table)
        if not as_json:
            typer.echo(f"-> {target}")


def _check_paths(paths: list[Path]) -> None:
    """A word of the command line that is no file is told before anything is read.

    Raises:
        UsageError: For the first path that is no file.
    """
    from genovox.core.errors import UsageError

    for path in paths:
        if path.is_dir():
            raise UsageError(f"{path} must be a file, got a folder; give the files in it")
        if not path.exists():
            raise UsageError(f"no such file: {path}; check the path")


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _choose(option: str, value: str, allowed: tuple[str, ...]) -> str:
    from genovox.core.errors import UsageError

    if value not in allowed:
        raise UsageError(f"{option} takes {' or '.join(allowed)}, got {value!r}; correct it")
    return value


def _show_labels(found: "GeneticTests", *, as_json: bool) -> None:
    """How many of each label, why the others have none, and what is odd; on one screen."""
    import json
    from collections import Counter

    from genovox.core.log import write_count

    findings = list(found.findings.values())
    counts = Counter("" if finding.label is None else str(finding.label) for finding in findings)
    reasons = Counter(kind for finding in findings if finding.label is None for kind in finding.kinds)
    statuses = {
        gene: Counter(one.statuses[gene] for one in findings) for gene in (findings[0].statuses if findings else ())
    }
    if as_json:
        summary = {"patients": len(findings), "labels": dict(counts), "reasons": dict(reasons)}
        typer.echo(json.dumps(summary | {"statuses": statuses, "notes": found.notes}, indent=2))
        return
    typer.echo(_wrap(f"{write_count(len(findings), 'patient')} in {found.name}"))
    typer.echo(f"  {counts['1']:6}  label 1      carriers")
    typer.echo(f"  {counts['0']:6}  label 0      every gene tested in full, none found")
    typer.echo(
        f"  {counts['']:6}  no label" + ("     because of (a patient may have several reasons)" if counts[""] else "")
    )
    for kind, number in reasons.most_common():
        typer.echo(f"  {'':6}  {number:8}     {kind}")
    for gene, own in statuses.items():
        typer.echo(_wrap(f"{gene}: " + ", ".join(f"{number} {status}" for status, number in own.most_common())))
    for note in found.notes:
        typer.echo(_wrap(f"warning: {note}"))


def _show_changes(table: "pd.DataFrame", patients: int, *, as_json: bool) -> None:
    import json

    relabelled = table[table["old_label"] != table["new_label"]]
    if as_json:
        columns = ["patient_id", "old_label", "new_label", "change"]
        typer.echo(json.dumps({"patients": patients, "changes": table[columns].to_dict("records")}, indent=2))
        return
    typer.echo(f"{len(relabelled)} of {patients} patients change label, {len(table) - len(relabelled)} status alone")
    for row in table.head(_SHOWN_CHANGES).to_dict("records"):
        old, new = (row[key] or "none" for key in ("old_label", "new_label"))
        typer.echo(
            _wrap(f"  {row['patient_id']}: label {old} -> {new}" + (f" ({row['change']})" if row["change"] else ""))
        )
    if len(table) > _SHOWN_CHANGES:
        typer.echo(f"  and {len(table) - _SHOWN_CHANGES} more; --out FILE writes all")


def _wrap(line: str) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(line, _WIDTH, subsequent_indent="         ", break_on_hyphens=False))
