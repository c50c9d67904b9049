"""How the report writes figures: two or three digits, never more than the data hold."""

from genovox.evaluate.schema import Metric

METRIC_NAMES = {
    "roc_auc": ("ROC AUC", "chance that a positive scores above a negative; 0.5 is a coin toss"),
    "pr_auc": ("PR AUC", "average precision; a coin toss gives the share of positives"),
    "accuracy": ("Accuracy", "share of all decisions that are right"),
    "balanced_accuracy": ("Balanced accuracy", "mean of sensitivity and specificity"),
    "recall": ("Sensitivity", "positives that are found (recall)"),
    "specificity": ("Specificity", "negatives that are left alone"),
    "precision": ("Precision", "positives among those called positive; follows the share of positives"),
    "f1": ("F1", "harmonic mean of precision and sensitivity"),
}


def write_number(value: float | None, digits: int = 2) -> str:
    """A figure with a true minus sign; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def write_signed(value: float | None) -> str:
    """A difference with its sign, to the third decimal: models often differ by less than a hundredth."""
    return "–" if value is None else f"{value:+z.3f}".replace("-", "−")


def write_p(value: float | None) -> str:
    """A p-value with one or two digits that count."""
    if value is None:
        return "–"
    if value < 0.001:
        return "< 0.001"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def write_interval(low: float | None, high: float | None, *, signed: bool = False) -> str:
    """An interval in words; empty where there is none."""
    if low is None or high is None:
        return ""
    write = write_signed if signed else write_number
    return f"{write(low)} to {write(high)}"


def write_share(part: float, whole: float) -> str:
    """A share in per cent without decimals; empty for a share of nothing."""
    return f"{100 * part / whole:.0f}%" if whole else ""


def write_duration(seconds: float) -> str:
    """Wall time as a person says it."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def explain_metric(metric: Metric) -> str:
    """What stands under a figure that has no interval: why not."""
    if metric.estimate is not None and metric.low is not None:
        return metric.note or ""
    return metric.note or metric.method
