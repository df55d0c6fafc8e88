"""The archive with all Python that a harness page imports."""

from __future__ import annotations

import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
HARNESS = Path(__file__).resolve().parent

# Folder in the repository -> where it is imported from.
FOLDERS = {
    "app/freshfetch": "freshfetch",
    "tests/contracts": "tests/contracts",
    "tests/browser/inpage": "tests/browser/inpage",
    "tests/browser/harness/inside.py": "tests/browser/harness/inside.py",
}


def write_site(archive: Path) -> Path:
    """Write the archive; folders that do not exist are left out."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for folder, name in FOLDERS.items():
            for path in _files(ROOT / folder):
                file.write(path, Path(name) / path.relative_to(ROOT / folder))
    return archive


def _files(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    return sorted(path for path in place.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
