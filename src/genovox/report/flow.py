"""The flow of inclusions on the page: the cohort's, and what preprocessing and scoring make of it."""

from markupsafe import Markup

from genovox.cohort.flow import Box, begin_flow, describe_count, describe_loss, draw_flow
from genovox.core.log import write_count
from genovox.report.axes import wrap_svg
from genovox.report.results import Results


def draw_inclusions(results: Results) -> Markup:
    """The flow as an SVG element: a column of what stays, beside it what leaves."""
    cohort = results.flow["included"]
    lost = int((results.exclusions["stage"] == "preprocess").sum())
    cases, patients = len(results.cases), results.cases["patient_id"].nunique()
    steps = [
        begin_flow(results.flow),
        (
            Box("In the cohort", describe_count(cohort["cases"], cohort["patients"])),
            describe_loss(lost, [f"{lost} could not be preprocessed"] if lost else []),
        ),
        (Box("Scored", describe_count(cases, patients)), None),
    ]
    came = results.flow["manifest"]["cases"]
    summary = f"{write_count(came, 'case')} in the {results.source}, {cohort['cases']} in the cohort, {cases} scored"
    drawing = draw_flow(steps, _split(results))
    return wrap_svg(drawing.body, drawing.width, drawing.height, f"Flow of inclusions: {summary}")


def _split(results: Results) -> tuple[Box, Box]:
    """By class; with a fixed test part by part."""
    cases = results.cases
    if results.blocks("fixed"):
        held = cases["part"] == "test"
        return _part_box("Cross-validation", results, ~held), _part_box("Fixed test part", results, held)
    boxes = [
        Box(name, describe_count(len(rows), rows["patient_id"].nunique()))
        for name, rows in (("Positive", cases[cases["label"] == 1]), ("Negative", cases[cases["label"] == 0]))
    ]
    return boxes[0], boxes[1]


def _part_box(title: str, results: Results, chosen: object) -> Box:
    rows = results.cases[chosen]
    positive = int((rows["label"] == 1).sum())
    return Box(title, (f"{positive:,} positive cases", f"{len(rows) - positive:,} negative cases"))
