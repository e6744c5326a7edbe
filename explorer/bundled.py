"""Where the files that ship with the package lie: in the wheel inside the package, in a checkout under ``assets/``."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent


def asset_path(name: str) -> Path:
    """A file or folder of ``assets/``, from an installed wheel or from a checkout."""
    return _beside_or_inside(f"assets/{name}")


def notebook_path(name: str) -> Path:
    """A notebook of ``notebooks/``, from an installed wheel or from a checkout."""
    return _beside_or_inside(f"notebooks/{name}")


def _beside_or_inside(relative: str) -> Path:
    installed = _PACKAGE / relative
    return installed if installed.exists() else _PACKAGE.parent / relative
