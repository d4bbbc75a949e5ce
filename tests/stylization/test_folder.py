import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from lbr.io.images import ImageFolder, read_image, write_image
from lbr.parallel import ParallelSettings
from lbr.stylization import MaskFolder, StylizeSettings, stylize_folder
from lbr.stylization.folder import draw_look
from tests.stylization.street import make_street

NAMES = ["a/one.jpg", "a/two.png", "b c/three.JPG", "four.jpg"]
SERIAL = ParallelSettings(workers=1)


@pytest.fixture()
def source(tmp_path):
    for k, name in enumerate(NAMES):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = make_street(160, 120, seed=k)[0]
        path.write_bytes(cv2.imencode(path.suffix.lower(), image[..., ::-1])[1].tobytes())
    return tmp_path / "photos"


def contents(root):
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_every_photograph_has_its_copies(source, tmp_path):
    assert stylize_folder(ImageFolder(source), NAMES, tmp_path / "out", StylizeSettings(), SERIAL) == []
    assert set(contents(tmp_path / "out")) == {f"{v}/{n}" for v in ("images_aug1", "images_aug2") for n in NAMES}
    for name in NAMES:
        assert read_image(tmp_path / "out/images_aug1" / name).shape == (120, 160, 3)


@pytest.mark.parametrize("parallel", [ParallelSettings(workers=3), ParallelSettings(workers=2, backend="processes")])
def test_copies_do_not_depend_on_workers_or_order(source, tmp_path, parallel):
    settings = StylizeSettings(seed=4)
    stylize_folder(ImageFolder(source), NAMES, tmp_path / "one", settings, SERIAL)
    stylize_folder(ImageFolder(source), NAMES[::-1], tmp_path / "many", settings, parallel)
    assert contents(tmp_path / "one") == contents(tmp_path / "many")


def test_it_resumes_and_keeps_what_is_there(source, tmp_path):
    out = tmp_path / "out"
    stylize_folder(ImageFolder(source), NAMES, out, StylizeSettings(), SERIAL)
    before = contents(out)
    (out / "images_aug1" / NAMES[0]).unlink()
    kept = out / "images_aug2" / NAMES[1]
    kept.write_bytes(b"mine")
    assert stylize_folder(ImageFolder(source), NAMES, out, StylizeSettings(), SERIAL) == []
    assert contents(out) == before | {f"images_aug2/{NAMES[1]}": b"mine"}


def test_a_broken_photograph_is_a_problem_and_the_rest_goes_on(source, tmp_path):
    (source / NAMES[0]).write_bytes((source / NAMES[0]).read_bytes()[:900])
    names = [*NAMES, "missing.jpg"]
    problems = stylize_folder(
        ImageFolder(source), names, tmp_path / "out", StylizeSettings(), ParallelSettings(workers=2)
    )
    assert [p.what for p in problems] == [NAMES[0], "missing.jpg"]
    assert all("\n" not in str(p) for p in problems)
    assert len(contents(tmp_path / "out")) == 2 * (len(NAMES) - 1)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".heic", ".pgm"])
def test_copies_of_any_format_have_the_photographs_name(tmp_path, suffix):
    image = np.add.outer(np.arange(24), 3 * np.arange(32)).astype(np.uint8)[..., None] + np.zeros(3, np.uint8)
    write_image(tmp_path / f"a{suffix}", image, 95)
    error = np.abs(read_image(tmp_path / f"a{suffix}").astype(int) - image).max()
    assert error == 0 if suffix == ".png" else error <= 4


def test_masks_of_a_folder_are_used(source, tmp_path):
    mask = np.zeros((120, 160), np.uint8)
    mask[:, 80:] = 255
    (tmp_path / "sky/a").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "sky/a/one.png"), mask)
    settings = StylizeSettings(variants={"n": ("night",)}, jpeg_quality=100)
    for target, masks in (("with", MaskFolder(tmp_path / "sky")), ("without", None)):
        assert stylize_folder(ImageFolder(source), NAMES[:2], tmp_path / target, settings, SERIAL, sky=masks) == []
    one, two = ({t: read_image(tmp_path / t / "n" / n).astype(float) for t in ("with", "without")} for n in NAMES[:2])
    assert np.abs(one["with"] - one["without"]).mean() > 3
    assert np.array_equal(two["with"], two["without"])
    cv2.imwrite(str(tmp_path / "sky/a/two.png"), mask[:50])
    problems = stylize_folder(
        ImageFolder(source), NAMES[:2], tmp_path / "bad", settings, SERIAL, sky=MaskFolder(tmp_path / "sky")
    )
    assert [p.what for p in problems] == [NAMES[1]] and "make them equal" in problems[0].why


def test_looks_are_drawn_from_the_variant():
    settings = StylizeSettings()
    drawn = {v: {draw_look(settings, v, f"{k}.jpg")[0] for k in range(60)} for v in settings.variants}
    assert drawn == {v: set(looks) for v, looks in settings.variants.items()}


def test_settings_refuse_what_they_do_not_know():
    variants = ({"x": ("fog",)}, {}, {"x": ()}, {"../x": ("night",)})
    for wrong in (*({"variants": v} for v in variants), {"strenght": 1}):
        with pytest.raises(ValidationError):
            StylizeSettings(**wrong)
