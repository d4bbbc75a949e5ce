from pathlib import Path

import pytest

from lbr.errors import DataError
from lbr.retrieval.candidates import ExhaustiveCandidates, ListedCandidates, Proposer


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.txt"
    path.write_text("q/1.jpg db/3.jpg\nq/2.jpg db/1.jpg\nq/1.jpg db/1.jpg\nq/1.jpg db/2.jpg\n")
    return path


def test_exhaustive_stands_for_all():
    assert Proposer(ExhaustiveCandidates()).propose("anything") is None


def test_a_list_is_best_first(listed: Path):
    found = Proposer(ListedCandidates(path=listed)).propose("q/1.jpg")
    assert found.names == ("db/3.jpg", "db/1.jpg", "db/2.jpg") and found.source == "list"
    assert list(found.scores) == sorted(found.scores, reverse=True)
    assert Proposer(ListedCandidates(path=listed, max_candidates=2)).propose("q/1.jpg").names == (
        "db/3.jpg",
        "db/1.jpg",
    )


def test_a_query_that_is_not_listed_is_never_a_search_of_everything(listed: Path):
    with pytest.raises(DataError, match="'q/9.jpg' has no candidates in"):
        Proposer(ListedCandidates(path=listed)).propose("q/9.jpg")


def test_a_missing_list_is_said(tmp_path: Path):
    with pytest.raises(DataError, match="no such file"):
        Proposer(ListedCandidates(path=tmp_path / "none.txt"))
