"""The drawing of who came, left and stayed."""

import xml.etree.ElementTree as ET

from genovox.cohort.flow import Box, draw_flow, render_flow

FLOW = {
    "source": "archive",
    "manifest": {"cases": 1200, "patients": 1000},
    "excluded": [{"rule": "label", "text": "no label", "cases": 7}, {"rule": "x", "text": "<b> & so on", "cases": 1}],
    "included": {
        "cases": 1192,
        "patients": 993,
        "carriers": {"cases": 1, "patients": 1},
        "non_carriers": {"cases": 1191, "patients": 992},
    },
}


def _texts(svg: str) -> list[str | None]:
    return [text.text for text in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_the_cohorts_flow_is_a_file_of_its_own() -> None:
    texts = _texts(render_flow(FLOW))
    assert texts[:3] == ["In the archive", "1,200 cases", "of 1,000 patients"]
    assert texts[3:6] == ["Left out: 8", "7 no label", "1 <b> & so on"]
    assert texts[6:9] == ["In the cohort", "1,192 cases", "of 993 patients"]
    assert texts[9:] == ["Positive", "1 case", "of 1 patient", "Negative", "1,191 cases", "of 992 patients"]


def test_nobody_left_out() -> None:
    assert "nobody" in _texts(render_flow(FLOW | {"excluded": []}))


def test_nothing_overlaps_and_nothing_is_cut_off() -> None:
    long = Box("Left out: 99", tuple(f"{number} of one reason" for number in range(20)))
    short, end = Box("In the cohort", ("1 case",)), Box("Positive", ("1 case",))
    drawing = draw_flow([(short, long), (short, long)], (end, end))
    boxes = []
    for rect in ET.fromstring(f"<svg>{drawing.body}</svg>").iter("rect"):
        x, y, width, height = (float(rect.attrib[name]) for name in ("x", "y", "width", "height"))
        assert x + width <= drawing.width
        assert y + height <= drawing.height
        boxes.append((x, y, x + width, y + height))
    for at, one in enumerate(boxes):
        for other in boxes[at + 1 :]:
            assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
