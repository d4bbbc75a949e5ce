import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from lbr.errors import DataError
from lbr.io.images import check_readable, image_size, list_images, list_others, read_exif, read_image, resize, to_grey

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (30, 40, 3)).astype(np.uint8)
GREY = RNG.integers(0, 256, (30, 40)).astype(np.uint8)


def assert_rgb(image: np.ndarray) -> None:
    assert image.dtype == np.uint8 and image.shape == (30, 40, 3)
    assert image.flags["C_CONTIGUOUS"]


def test_rgb_in_rgb_out(tmp_path: Path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), RGB)
    assert image_size(tmp_path / "a.png") == (40, 30)


def test_grey_is_repeated(tmp_path: Path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    assert_rgb(read_image(tmp_path / "a.png"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.repeat(GREY[..., None], 3, 2))


def test_alpha_is_dropped_not_blended(tmp_path: Path):
    alpha = np.dstack([RGB, GREY])
    Image.fromarray(alpha, "RGBA").save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), RGB)
    Image.fromarray(np.dstack([GREY, 255 - GREY]), "LA").save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_image(tmp_path / "b.png")[..., 1], GREY)


def test_sixteen_bits_are_brought_to_eight(tmp_path: Path):
    deep = (GREY.astype(np.uint16) << 8) + 77
    Image.fromarray(deep).save(tmp_path / "a.png")
    assert_rgb(read_image(tmp_path / "a.png"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[..., 0], GREY)
    Image.fromarray(deep).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[..., 2], GREY)


def test_floating_point_pixels_are_refused(tmp_path: Path):
    """Of 0 to 1 they were all black."""
    Image.fromarray(np.full((4, 6), 0.5, np.float32)).save(tmp_path / "a.tiff")
    with pytest.raises(DataError, match=r"a.tiff: has floating point pixels; convert it"):
        read_image(tmp_path / "a.tiff")


def test_bits_of_one(tmp_path: Path):
    Image.fromarray(GREY > 127).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[..., 0], np.where(GREY > 127, 255, 0))


def test_palettes_are_looked_up(tmp_path: Path):
    indexed = Image.fromarray(GREY // 100, "P")
    indexed.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    indexed.save(tmp_path / "a.png")
    colours = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]], np.uint8)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), colours[GREY // 100])


def test_cmyk_is_converted(tmp_path: Path):
    smooth = np.full((30, 40, 3), (200, 100, 50), np.uint8)
    Image.fromarray(smooth).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    assert_rgb(read_image(tmp_path / "a.jpg"))
    np.testing.assert_allclose(read_image(tmp_path / "a.jpg").mean((0, 1)), [200, 100, 50], atol=6)


def with_exif(path: Path, **tags: int) -> Path:
    exif = Image.Exif()
    if "orientation" in tags:
        exif[0x0112] = tags["orientation"]
    if "focal_35mm" in tags:
        exif.get_ifd(0x8769)[0xA405] = tags["focal_35mm"]
    Image.fromarray(RGB).save(path, exif=exif, quality=95)
    return path


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_exif_orientation_is_ignored(tmp_path: Path, orientation: int):
    """Intrinsics speak of the stored pixels."""
    path = with_exif(tmp_path / "a.jpg", orientation=orientation)
    assert image_size(path) == (40, 30)
    np.testing.assert_array_equal(read_image(path), read_image(with_exif(tmp_path / "b.jpg")))


@pytest.mark.parametrize("suffix", ["heic", "avif"])
def test_what_telephones_write_is_read_with_its_exif(tmp_path: Path, suffix: str):
    smooth = np.add.outer(np.arange(30), 2 * np.arange(40)).astype(np.uint8)[..., None] + np.zeros(3, np.uint8)
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] = "A", 26
    Image.fromarray(smooth).save(tmp_path / f"a.{suffix}", quality=95, exif=exif)
    assert_rgb(read_image(tmp_path / f"a.{suffix}"))
    assert np.abs(read_image(tmp_path / f"a.{suffix}").astype(int) - smooth).max() <= 6, "lossy, but no other picture"
    size, found = read_exif(tmp_path / f"a.{suffix}")
    assert size == (40, 30) and found.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.FocalLengthIn35mmFilm] == 26
    assert list_images(tmp_path) == [f"a.{suffix}"]


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "bmp", "webp", "heic", "avif"])
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_truncated_image_is_one_clear_line(tmp_path: Path, suffix: str, share: float):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(RNG.integers(0, 256, (300, 400, 3)).astype(np.uint8)).save(path)
    check_readable(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    for read in (read_image, check_readable):
        with pytest.raises(DataError, match=f"a.{suffix}: ") as error:
            read(path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content", [b"", b"this is text\n", bytes(range(256)), b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n"]
)
def test_what_is_no_image_is_one_clear_line(tmp_path: Path, content: bytes):
    (tmp_path / "a.jpg").write_bytes(content)
    for read in (read_image, image_size):
        with pytest.raises(DataError) as error:
            read(tmp_path / "a.jpg")
        assert "a.jpg" in str(error.value) and "\n" not in str(error.value)


def test_a_missing_image_and_a_folder(tmp_path: Path):
    with pytest.raises(DataError, match="no such image"):
        read_image(tmp_path / "none.jpg")
    with pytest.raises(DataError):
        read_image(tmp_path)
    with pytest.raises(DataError):
        image_size(tmp_path / "none.jpg")


def claimed_png(width: int, height: int) -> bytes:
    """A PNG whose header claims a size, with next to no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100))


@pytest.mark.parametrize("read", [read_image, image_size])
def test_a_header_that_claims_a_giant_is_one_clear_line(tmp_path: Path, read):
    (tmp_path / "a.png").write_bytes(claimed_png(60000, 60000))
    with pytest.raises(DataError) as error:
        read(tmp_path / "a.png")
    assert "\n" not in str(error.value)


def test_exif_of_a_giant_is_one_clear_line(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(claimed_png(60000, 60000))
    with pytest.raises(DataError, match=r"a.png: cannot read the image's header"):
        read_exif(tmp_path / "a.png")


def test_images_are_listed_by_suffix_sorted_and_posix(tmp_path: Path):
    for name in ("db/b.JPG", "db/a name.x.png", "db/notes.txt", "query/c.jpeg", "db/deep/er/d.tiff"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list_images(tmp_path, "db") == ["db/a name.x.png", "db/b.JPG", "db/deep/er/d.tiff"]
    assert len(list_images(tmp_path)) == 4 and list_others(tmp_path) == ["db/notes.txt"]
    with pytest.raises(DataError, match="no such folder"):
        list_images(tmp_path, "none")


def test_hidden_files_are_no_photographs(tmp_path: Path):
    for name in ("a.jpg", "._a.jpg", ".thumbnails/a.jpg", "db/__MACOSX/b.jpg", "db/.DS_Store"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list_images(tmp_path) == ["a.jpg"] and list_others(tmp_path) == []


def test_linked_folders_are_entered_each_once(tmp_path: Path):
    """Also one that leads around in a circle, and one to a folder that is there already."""
    for path in ("photos/old/a.jpg", "nas/b.jpg", "nas/deep/c.jpg"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    for link, target in (("more", "nas"), ("again", "nas/deep"), ("latest", "photos/old"), ("around", "photos")):
        (tmp_path / "photos" / link).symlink_to(tmp_path / target)
    (tmp_path / "nas/back").symlink_to(tmp_path / "photos")
    found = list_images(tmp_path / "photos")
    assert sorted(name.rpartition("/")[2] for name in found) == ["a.jpg", "b.jpg", "c.jpg"] and "old/a.jpg" in found


def test_a_link_to_nothing_is_listed_so_that_its_reader_can_say_so(tmp_path: Path):
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    assert list_images(tmp_path) == ["gone.jpg"]
    with pytest.raises(DataError, match=r"gone.jpg: no such image"):
        read_image(tmp_path / "gone.jpg")


def test_resize_averages_and_keeps_what_fits():
    assert resize(RGB, (40, 30)) is RGB
    half = resize(RGB, (20, 15))
    expected = RGB.reshape(15, 2, 20, 2, 3).mean((1, 3))
    np.testing.assert_allclose(half, expected, atol=1)


def test_grey_is_luma():
    np.testing.assert_allclose(to_grey(RGB), RGB @ [0.299, 0.587, 0.114], atol=1)
