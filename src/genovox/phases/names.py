"""What a series' name says: its kind, before or after contrast, a phase's number, a side, the series it subtracts.

Names are free text typed by people and built by scanners; each rule here is a habit seen in public archives. A name
alone never makes a phase: ``phases.roles`` and ``phases.exams`` weigh it against the rest of the study.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

ROLES = (
    "pre",
    "post",
    "subtraction",
    "dynamic",
    "dynamic-post",
    "projection",
    "t2",
    "dwi",
    "adc",
    "localizer",
    "reformat",
    "other",
)
DCE_ROLES = ("pre", "post", "dynamic", "dynamic-post")


class NameRule(NamedTuple):
    """Sets a series aside if its image type holds a word or its name matches."""

    role: str
    reason: str
    name: str
    image_types: str = ""


# The first rule that holds decides. Names are in lower case with blanks for underscores; no rule reads a whole name.
RULES = (
    NameRule(
        "localizer",
        "localizer",
        r"\bloc\b|locali[sz]er|\blocali[sz]ation\b|\bscout|\bsurvey\b|\b3[ -]?pl|\bpilot\b|locator|smartbreast",
        "LOCALIZER",
    ),
    NameRule("other", "biopsy", r"biops|\bbx\b|\bneedle\b|\bwire\b"),
    NameRule("other", "calibration", r"\bcal\b|calib|\bb1 ?map\b|\bshim\b|field ?map"),
    NameRule("other", "a page of text or a photograph of the screen", r"screen ?save|\bscreen\b|\breport\b"),
    NameRule(
        "projection",
        "projection",
        r"\bt?mips?\b|\bprojection\b|\bradials?\b|\bpjn\b",
        "MIP|PROJECTION|PROJECTION IMAGE",
    ),
    NameRule(
        "reformat",
        "vendor CAD's reformat",
        r"\bcad\b.*(\bsag|\bcor|\bax|\btra|ref)",
    ),
    NameRule("subtraction", "vendor CAD's subtraction", r"\bcad\b.*\bsub"),
    NameRule(
        "other",
        "parameter map or marking",
        r"\bcad\b|colou?r|angiomap|wash ?(in|out)|\bkinetic|\bttp\b|\bpei\b|\bpe\d\b|: ?ser\b|\btram\b",
    ),
    NameRule("other", "computed from other series", r"\bregistered\b|\bderived\b|volser|\befiltering\b"),
    NameRule(
        "subtraction",
        "subtraction",
        r"\bs{0,2}sub(tr\w*|s)?\d*\b|\(\d+/\d+/\d+\)-\(|post\w*\s*(-|minus)\s*pre",
        "SUB|SUBTRACT|SUBTRACTED|SUBTRACTION",
    ),
    NameRule("reformat", "reformat", r"\bmpr\b|reformat|\bref\b|\bcurved\b", "MPR|REFORMATTED"),
    NameRule("adc", "apparent diffusion coefficient", r"\b\w{0,4}adc\b|apparent diffusion", "ADC"),
    NameRule(
        "dwi",
        "diffusion",
        r"\b[de]?dwi|\bdw?ssfse\b|\bdiff|\bdti\b|\bep2d\b|\bb ?=? ?\d{2,4}\b|\btrace",
        "DIFFUSION|TRACEW",
    ),
    NameRule("t2", "T2-weighted", r"\bs?t2|stir\b|\btirm\b|\bir[ -]fse\b|\bfse ir\b|\bhaste\b|\bssfse\b|\bvista\b"),
    NameRule("other", "not T1-weighted", r"\bpdw?\b"),
    NameRule(
        "other", "fat or opposed", r"^(fat|in ?phase|out ?phase|ip|op) ?:", "FAT|IN_PHASE|OUT_PHASE|OPP_PHASE|F|IP|OP"
    ),
    NameRule("other", "phase map", r"\bphase map\b", "P|PHASE MAP"),
)
_BIOPSY_STUDY = re.compile(r"biops|\bbx\b|\bneedle\b|\bwire\b|\blocali[sz]ation\b")
DYNAMIC = re.compile(
    r"dyn|vibrant|views|flash|thrive|fl3d|\bdce\b|contrast|multi ?phase|\bmph\b|\bbrava\b|\bperf|pre/?post"
)
MANY_PHASES = re.compile(r"multi ?phase|\bmph?\b|\bdyn|\bdce\b|\bperf|pre/?post|pre\+\d?post")
_PRE = re.compile(
    r"\bpre\b|\bpre[- ]?con|\bunenhanced\b|\bnativ|\bohne\b|\bw/o\b(?!\s*(?:fs|fat|w\b))"
    r"|\bwithout (?:contrast|gad|gd)|\bnon?[- ]?contrast"
)
_POST = re.compile(
    r"\b\d*post(?!er)|\b\d+(?:st|nd|rd|th) (?:\w+ )?(?:post|dyn|pas)|\b\d+ ?min|\bmit km\b|(?<!no )\bdelay"
)
_MINUTES = re.compile(r"(?:\b|sub)(\d{1,2}) ?min")
_ORDINAL = re.compile(
    r"\b(?:post|phase|ph|dyn)[-= ]?(?:contrast[- ]?)?(\d{1,2})\b(?! ?min)"
    r"|\b(\d{1,2})(?:st|nd|rd|th) (?:\w+ )?(?:post|dyn|phase|pas)"
)
_SUBTRACTION_ORDINAL = re.compile(r"\bs{0,2}sub\w*[- ]?(?:phase )?(\d{1,2})\b(?! ?min)")
SIDES = {"left": re.compile(r"\b(?:lt\b|left|links\b)"), "right": re.compile(r"\b(?:rt\b|right|rechts\b)")}
_PLANES = {
    "axial": re.compile(r"\b(?:ax|axial|axl|tra)\b"),
    "sagittal": re.compile(r"\bsag"),
    "coronal": re.compile(r"\bcor"),
}
# GE: (exam/series/image)-(exam/series/image). Siemens: SUB_S14-S13_1.
_CITED = re.compile(r"\(\d+/(\d+)/(\d+)\)-\(\d+/(\d+)/(\d+)\)")
_CITED_SERIES = re.compile(r"\bs(\d+)-s(\d+)\b")
# GE: images 97 to 146 of series 7 of an exam, stored again as a series of their own.
_BOUND = re.compile(r"\bbind\(\d+/(\d+)/(\d+)\.\.(\d+)\)")
_PHASE_WORDS = re.compile(
    r"^ispy\d: ?|\bph\d+/ ?|\([^)]*\b(?:pre|post|min)\b[^)]*\)|\b\d+/\d+\b|\b(?:pre|post)[- ]?contrast\b|\bunenhanced\b"
    r"|\b\d+(?:st|nd|rd|th)\b|\bpass?\b|\b\d+ ?min\w*|\b(?:pre|post)[- ]?\d*\b|\bgad\b|\bgd\b|\bdelay(?:ed)?\b"
    r"|\bsub\b|\bphase[-= ]?\d+\b|\b(?:lt|left|rt|right)\b|[^a-z0-9+]+"
)


class Citation(NamedTuple):
    """What a subtraction says it subtracts: series and image, or series alone."""

    minuend: int
    minuend_image: int | None
    subtrahend: int
    subtrahend_image: int | None


@dataclass(frozen=True)
class SeriesName:
    """What one name says.

    Attributes:
        text: Lower case, blanks for underscores.
        aside: The rule that sets it aside as no dynamic phase, or None.
        claim: ``pre``, ``post``, or empty where it says neither or both.
        minute: Minutes after contrast.
        ordinal: Number of the phase, or of the subtraction.
        side: ``left``, ``right`` or empty.
        plane: ``axial``, ``sagittal``, ``coronal`` or empty.
        stem: The name without what tells phases and sides apart.
        cites: What it subtracts.
        bound: Series it was bound from, and the first and last image there.
    """

    text: str
    aside: NameRule | None
    claim: str
    minute: int | None
    ordinal: int | None
    side: str
    plane: str
    stem: str
    cites: Citation | None
    bound: tuple[int, int, int] | None


@lru_cache(maxsize=8192)
def read_name(name: str) -> SeriesName:
    """Read a series' name; nothing is ever wrong with one, it may only say little."""
    text = simplify(name)
    aside = next((rule for rule in RULES if re.search(rule.name, text)), None)
    cites = _read_citation(text)
    if cites:
        aside = next(rule for rule in RULES if rule.reason == "subtraction")
    pattern = _SUBTRACTION_ORDINAL if aside and aside.role == "subtraction" else _ORDINAL
    bound = _BOUND.search(text)
    return SeriesName(
        text=text,
        aside=aside,
        claim=find_claim(text),
        minute=_first_number(_MINUTES.search(text)),
        ordinal=_first_number(pattern.search(text)),
        side=find_side(text),
        plane=next((plane for plane, found in _PLANES.items() if found.search(text)), ""),
        stem="" if bound else " ".join(_PHASE_WORDS.sub(" ", text).split()),
        cites=cites,
        bound=(int(bound[1]), int(bound[2]), int(bound[3])) if bound else None,
    )


def simplify(text: str) -> str:
    """Lower case, with blanks for underscores and tildes."""
    return text.lower().replace("_", " ").replace("~", " ").strip()


def names_biopsy(study_description: str) -> bool:
    """Whether a study was made to guide a needle or a wire: its phases are no diagnostic exam."""
    return bool(_BIOPSY_STUDY.search(simplify(study_description)))


def find_claim(text: str) -> str:
    """``pre`` or ``post`` as a simplified name says, or empty where it says neither or both."""
    pre, post = _PRE.search(text), _POST.search(text)
    return "" if bool(pre) == bool(post) else "pre" if pre else "post"


def find_numbers(text: str) -> dict[str, int]:
    """Minutes after contrast and place in the order that a simplified name gives, by ``minute`` and ``ordinal``."""
    found = {"minute": _first_number(_MINUTES.search(text)), "ordinal": _first_number(_ORDINAL.search(text))}
    return {kind: number for kind, number in found.items() if number is not None}


def find_side(text: str) -> str:
    """``left``, ``right``, or empty where a simplified name says neither or both."""
    sides = [side for side, pattern in SIDES.items() if pattern.search(text)]
    return sides[0] if len(sides) == 1 else ""


def _first_number(match: re.Match[str] | None) -> int | None:
    return None if match is None else int(next(filter(None, match.groups())))


def _read_citation(text: str) -> Citation | None:
    if images := _CITED.search(text):
        return Citation(int(images[1]), int(images[2]), int(images[3]), int(images[4]))
    if whole := _CITED_SERIES.search(text):
        return Citation(int(whole[1]), None, int(whole[2]), None)
    return None
