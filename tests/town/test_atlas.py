import numpy as np
import pytest

from lbr.town.atlas import AtlasBuilder


def make(colour, wrap=True):
    builder = AtlasBuilder(width=512)
    builder.add(np.full((40, 60, 3), 9.0))
    tile = builder.add(
        colour, lights=(np.arange(colour[..., 0].size) % 200).reshape(colour.shape[:2]).astype(np.uint8), wrap=wrap
    )
    return builder.build(), tile


def sample(atlas, tile, texel, short=1e-3, ratio=1.0, axis=(1.0, 0.0)):
    n = len(texel)
    along = np.tile(np.float32(axis), (n, 1)).T
    return atlas.sample(np.float32(texel).T, np.full(n, tile), along, np.full(n, short), np.full(n, ratio)).T


@pytest.fixture(scope="module")
def picture():
    return np.round(np.random.default_rng(0).uniform(0, 255, (64, 96, 3)))


def test_a_texel_centre_gives_the_texel(picture):
    atlas, tile = make(picture)
    xy = np.array([[3.5, 7.5], [95.5, 63.5], [0.5, 0.5]])
    np.testing.assert_allclose(sample(atlas, tile, xy)[:, :3], picture[[7, 63, 0], [3, 95, 0]])


def test_a_texture_continues_over_its_border(picture):
    atlas, tile = make(picture)
    inside = np.random.default_rng(1).uniform(0, 60, (50, 2))
    np.testing.assert_allclose(sample(atlas, tile, inside), sample(atlas, tile, inside + [96, -64]), atol=1.0)


def test_a_large_footprint_gives_the_mean(picture):
    atlas, tile = make(picture)
    seen = sample(atlas, tile, np.array([[30.0, 30.0]]), short=32.0)[0, :3]
    np.testing.assert_allclose(seen, picture.mean((0, 1)), atol=12)


def test_a_long_footprint_blurs_along_its_axis_only():
    stripes = np.repeat(np.where(np.arange(96) % 8 < 4, 0.0, 240.0)[None, :, None], 64, 0).repeat(3, 2)
    atlas, tile = make(stripes)
    xy = np.stack([np.linspace(20, 28, 9), np.full(9, 30.0)], 1)
    across = sample(atlas, tile, xy, short=1.0, ratio=8.0, axis=(1, 0))[:, 0]
    along = sample(atlas, tile, xy, short=1.0, ratio=8.0, axis=(0, 1))[:, 0]
    assert np.ptp(across) < 40 and np.ptp(along) > 200


def test_light_ids_are_not_blended(picture):
    atlas, tile = make(picture)
    ids = atlas.light_ids(np.float32([[3.2, 95.9], [7.9, 0.1]]), np.array([tile, tile]))
    np.testing.assert_array_equal(ids, [(7 * 96 + 3) % 200, 95])


def test_empty_lookup():
    atlas, tile = make(np.zeros((40, 40, 3)))
    assert sample(atlas, tile, np.zeros((0, 2))).shape == (0, 4)
