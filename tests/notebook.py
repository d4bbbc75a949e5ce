"""A shipped notebook, run on other data; a cell that raises fails the test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run_notebook(name: str, environment: Mapping[str, str]) -> str:
    """Execute notebooks/<name>.ipynb; what its cells print and show."""
    nbclient = pytest.importorskip("nbclient", reason="notebooks need nbclient and ipykernel: pip install nbmake")
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", 4)
    for cell in notebook.cells:
        cell.pop("outputs", None)
        if cell.cell_type == "code":
            cell.outputs = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", str(ROOT))  # this checkout, whichever is installed
        for key, value in environment.items():
            patched.setenv(key, value)
        client = nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(ROOT)}})
        client.execute()
    return "\n".join(str(cell.get("outputs", "")) for cell in notebook.cells)
