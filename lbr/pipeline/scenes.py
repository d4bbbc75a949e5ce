"""The stages `town` and `stylize`, which make photographs: the embedded town, and stylised copies of any db images."""

from __future__ import annotations

import os
from pathlib import Path

from lbr.errors import ConfigError
from lbr.io.files import remove
from lbr.io.images import list_images
from lbr.pipeline.stage import Context, Report, made, reused
from lbr.pipeline.workspace import Recipe, digest_images, digest_photographs, making

LAYOUT_FOLDERS = {"aachen": "aachen_v1.1", "robotcar": "RobotCar-Seasons"}


def make_town(context: Context) -> list[Report]:
    """Build the embedded town at dataset.root, which ends in its layout's folder, and its truth beside that.

    It is made in a folder of its own and moved at the end, so a killed run goes on and what is there is whole.
    """
    from lbr.town import write_town

    config = context.config
    folder = LAYOUT_FOLDERS[config.town.layout]
    output = config.dataset.root
    if output.name != folder:
        raise ConfigError(
            f"dataset.root={output}: the {config.town.layout} layout is written to a folder named {folder}"
        )
    recipe = Recipe("town", context.dump("town"), _photographs(config.town.textures))
    if context.reusable(output, recipe):
        return [reused(output)]
    unfinished = output.parent / f".{folder}.{recipe.identity}"
    with making(output, recipe) as work:
        summary = write_town(config.town, unfinished, config.parallel.num_workers)
        for made_folder, final in ((summary.truth, output.parent / summary.truth.name), (summary.dataset, output)):
            remove(final)
            os.replace(made_folder, final)
        remove(unfinished)
        work.problems += summary.problems
        work.facts["summary"] = (
            f"{summary.num_images} photographs of {summary.num_buildings} buildings, {summary.num_instances} facades"
        )
    return [made(output)]


def _photographs(folder: Path | None) -> dict[str, str]:
    """The identity of the photographs that stand for facades, if any do. Raises DataError without the folder."""
    return {} if folder is None else {"textures": digest_images(folder, list_images(folder))}


def make_stylized(context: Context) -> list[Report]:
    """Stylised copies of the db images (night, rain, ...), one folder for each variant, under the dataset's."""
    from lbr.stylization import stylize_folder

    config, dataset, reports = context.config, context.dataset, []
    for variant, looks in config.stylization.variants.items():
        output = dataset.stylized_root / variant
        settings = config.stylization.model_copy(update={"variants": {variant: looks}})
        names = [name.removeprefix(dataset.stylized_prefix) for name in dataset.db_names]
        source = dataset.images.below(dataset.stylized_prefix)
        recipe = Recipe("stylize", settings.model_dump(mode="json"), {"images": digest_photographs(source, names)})
        if context.reusable(output, recipe):
            reports.append(reused(output))
            continue
        unfinished = output.with_name(f".{variant}.{recipe.identity}")
        with making(output, recipe) as work:
            work.problems += stylize_folder(source, names, unfinished, settings, config.parallel)
            os.replace(unfinished / variant, output)
            remove(unfinished)
            work.facts["summary"] = f"{len(names) - len(work.problems)} images as {', '.join(looks)}"
        reports.append(made(output))
    return reports
