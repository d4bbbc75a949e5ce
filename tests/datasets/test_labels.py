"""Where a dataset's label images are found, and what is said when they are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from lbr.datasets.folder import FolderSettings
from lbr.errors import DataError


def test_true_labels_that_are_not_there_are_a_problem_and_labels_an_error(tmp_path: Path):
    problems: list = []
    settings = FolderSettings(root=tmp_path, ground_truth_labels=tmp_path / "none")
    assert settings.find_labels(tmp_path, problems).truth is None
    assert len(problems) == 1 and "recognition is not scored" in str(problems[0])
    with pytest.raises(DataError, match=r"none: no such folder of label images; see dataset\.labels"):
        FolderSettings(root=tmp_path, labels=tmp_path / "none").find_labels(tmp_path, [])


@pytest.mark.parametrize("spelling", ["global_seg_instance", "gloabl_seg_instance"])
def test_both_spellings_and_the_vocabulary_beside_them(tmp_path: Path, spelling: str):
    (tmp_path / spelling).mkdir()
    found = FolderSettings(root=tmp_path).find_labels(tmp_path, [])
    assert found.masks == tmp_path / spelling and found.vocabulary is None
    (tmp_path / spelling / "vocabulary.txt").write_text("0 0\n")
    assert FolderSettings(root=tmp_path).find_labels(tmp_path, []).vocabulary == tmp_path / spelling / "vocabulary.txt"
