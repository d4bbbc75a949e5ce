"""Aachen Day-Night v1.1, and whatever is written in its layout (METHOD.md 3)."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Literal

from lbr.datasets.dataset import Dataset
from lbr.datasets.reading import (
    LabelSettings,
    first_folder,
    listed_queries,
    model_folder,
    modelled_images,
    turned_photographs,
)
from lbr.errors import DataError
from lbr.io.text_lists import Problem
from lbr.settings import ConfigPath

IMAGES = ("images/images_upright", "images")
MODELS = ("3D-models", "3D-models/sfm-sift", "3D-models/aachen_v_1_1")
QUERY_LISTS = "queries/*_with_intrinsics.txt"


class AachenSettings(LabelSettings):
    """root: the folder aachen_v1.1. ground_truth: poses of the queries where one has them (the town's are its own;
    the real ones are kept by the benchmark's server)."""

    name: Literal["aachen"] = "aachen"
    root: ConfigPath
    ground_truth: ConfigPath | None = None


def load_aachen(settings: AachenSettings) -> Dataset:
    """Db and sequence images from the reference model, day and night queries. Raises DataError as its parts do."""
    image_root = first_folder(settings.root, IMAGES, "images of Aachen")
    model = model_folder(settings.root, MODELS)
    problems: list[Problem] = []
    cameras, poses = modelled_images(image_root, model, problems)
    lists = sorted(settings.root.glob(QUERY_LISTS))
    if not lists:
        raise DataError(f"{settings.root / QUERY_LISTS}: no query list; see the README on how to lay out the dataset")
    queries = listed_queries(lists, problems)
    labels = settings.find_labels(settings.root, problems)
    return Dataset(
        image_root,
        cameras,
        poses,
        queries,
        model,
        settings.ground_truth,
        tuple(problems),
        result_name=result_name,
        stylized_root=settings.root / "stylized",
        labels=labels,
        turned=turned_photographs(image_root, cameras, queries),
    )


def result_name(name: str) -> str:
    """The benchmark's server wants base names: query/night/nexus5x/a.jpg -> a.jpg."""
    return PurePosixPath(name).name
