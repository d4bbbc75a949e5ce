from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lbr.errors import DataError
from lbr.io.images import write_image
from lbr.recognition.augment import AugmentSettings
from lbr.recognition.samples import (
    Batching,
    LabelledImage,
    Photographs,
    TrainingSamples,
    check_sizes,
    collate,
    growing_sizes,
    hold_out,
    load_chunks,
    normalised,
)
from lbr.recognition.validation import HeldOut
from tests.recognition.squares import PAINT, SIZE, STILL, VOCABULARY, write_squares

AUGMENT = AugmentSettings(night=0.3, haze=0.3)


def samples(images: list[LabelledImage], augmentation=AUGMENT, seed: int = 0, cache_mb: int = 10) -> TrainingSamples:
    return TrainingSamples(images, Photographs(VOCABULARY, SIZE, cache_mb), [SIZE] * 40, augmentation, seed)


def with_copies(folder: Path, num: int) -> list[LabelledImage]:
    """Each with two flat copies, by whose level the copy is told."""
    found = []
    for item in write_squares(folder, num):
        copies = [folder / f"copy{level}" / item.images[0].name for level in (100, 200)]
        for path, level in zip(copies, (100, 200), strict=True):
            write_image(path, np.full((*SIZE, 3), level, np.uint8))
        found.append(LabelledImage(item.name, (*item.images, *copies), item.mask))
    return found


def test_samples_do_not_depend_on_workers_order_or_memory(tmp_path: Path):
    images = with_copies(tmp_path, 5)
    keys = list(Batching(5, 2).epoch(3, 0))
    batches = [list(load_chunks(samples(images), keys, workers)) for workers in (0, 2)]
    assert len(batches[0]) == len(batches[1]) == 3
    for a, b in zip(*batches, strict=True):
        assert torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])
    other = samples(images[::-1], cache_mb=0)
    for key in [(3, i) for i in (4, 0, 2)]:
        for a, b in zip(samples(images)[key], other[key[0], 4 - key[1]], strict=True):
            np.testing.assert_array_equal(a, b)


def test_samples_differ_by_seed_epoch_and_name(tmp_path: Path):
    images = write_squares(tmp_path, 1)
    again = [LabelledImage("db/another.png", images[0].images, images[0].mask)]
    drawn = [samples(images)[0, 0], samples(images)[1, 0], samples(images, seed=1)[0, 0], samples(again)[0, 0]]
    for i, a in enumerate(drawn):
        for b in drawn[:i]:
            assert not np.array_equal(a[0], b[0])


def test_every_copy_is_drawn_and_none_without_augmentation(tmp_path: Path):
    images = with_copies(tmp_path, 1)
    still = AUGMENT.model_copy(
        update=dict.fromkeys(("night", "haze", "occlusion", "noise", "brightness", "contrast"), 0.0)
    )
    levels = [np.median(samples(images, still)[epoch, 0][0]) for epoch in range(30)]
    assert {level for level in levels if level in (100, 200)} == {100, 200} and any(v not in (100, 200) for v in levels)
    image, _ = samples(images, None)[0, 0]
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 100, "the photograph, not a flat copy"


def test_image_and_mask_fit(tmp_path: Path):
    image, mask = samples(write_squares(tmp_path, 2, (96, 64)), None)[0, 1]
    assert image.shape == (48, 48, 3) and mask.shape == (48, 48) and mask.dtype == np.int64
    assert set(np.unique(mask)) <= {0, 1, 2, 3} and len(np.unique(mask)) == 3
    wrong = np.abs(PAINT[mask].astype(int) - image).max(-1) > 60
    assert wrong.mean() < 0.12, "at the borders alone"


def test_normalised_is_imagenets():
    grey = np.full((2, 4, 6, 3), (255, 0, 128), np.uint8)
    found = normalised(grey)
    assert found.shape == (2, 3, 4, 6) and found.dtype == torch.float32
    wanted = [(1 - 0.485) / 0.229, -0.456 / 0.224, (128 / 255 - 0.406) / 0.225]
    np.testing.assert_allclose(found[1, :, 2, 3], wanted, rtol=1e-5)
    assert found.is_contiguous(memory_format=torch.channels_last)
    images, masks = collate([(grey[0], np.zeros((4, 6), np.int64)), (grey[1], np.ones((4, 6), np.int64))])
    assert torch.equal(images, found) and masks.tolist()[1][0][0] == 1


def test_label_images_and_copies_of_another_shape_are_named(tmp_path: Path):
    images = with_copies(tmp_path, 3)
    check_sizes(images)
    write_image(images[1].mask, np.zeros((96, 96), np.uint8))  # twice the size: the same shape
    check_sizes(images)
    for path in (images[1].mask, images[2].images[2]):
        kept = path.read_bytes()
        write_image(path, np.zeros((48, 60), np.uint8))
        with pytest.raises(DataError, match=r"60x48.*48x48.*do not fit") as said:
            check_sizes(images)
        photograph = images[1].images[0] if path == images[1].mask else images[2].images[0]
        assert str(path) in str(said.value) and str(photograph) in str(said.value)
        path.write_bytes(kept)


@pytest.mark.parametrize("num, batch", [(10, 4), (8, 4), (3, 4), (1, 6), (9, 2)])
def test_every_sample_comes_at_least_once(num: int, batch: int):
    batching = Batching(num, batch)
    for epoch in range(3):
        keys = list(batching.epoch(epoch, 5))
        assert len(keys) == batching.num_batches == -(-num // batch) and {len(chunk) for chunk in keys} == {batch}
        assert {e for chunk in keys for e, _ in chunk} == {epoch}
        assert {index for chunk in keys for _, index in chunk} == set(range(num))
    assert list(batching.epoch(1, 5)) == list(batching.epoch(1, 5))


def test_the_order_is_by_seed_and_epoch():
    orders = [[i for chunk in Batching(50, 50).epoch(e, s) for _, i in chunk] for e, s in ((0, 0), (1, 0), (0, 1))]
    assert orders[0] != orders[1] != orders[2] != orders[0]


@pytest.mark.parametrize("world, chunks", [(2, 2), (2, 4), (3, 6), (4, 4)])
def test_processes_together_do_what_one_does_with_chunks(world: int, chunks: int):
    alone = list(Batching(30, 12, chunks).epoch(2, 1))
    shares = [list(Batching(30, 12, chunks, rank, world).epoch(2, 1)) for rank in range(world)]
    own = chunks // world
    for batch in range(3):
        together = [chunk for share in shares for chunk in share[batch * own : (batch + 1) * own]]
        assert together == alone[batch * chunks : (batch + 1) * chunks]
    whole = list(Batching(30, 12).epoch(2, 1))
    assert [key for chunk in alone for key in chunk] == [key for batch in whole for key in batch]


def named(num: int) -> list[LabelledImage]:
    return [LabelledImage(f"db/{i}.jpg", (Path("x"),), Path("y")) for i in range(num)]


@pytest.mark.parametrize("share, held", [(0, 0), (0.001, 1), (0.1, 4), (0.5, 20), (0.99, 39)])
def test_a_share_is_held_out(share: float, held: int):
    images = named(40)
    training, out = hold_out(images, share, 0)
    assert len(out) == held and len(training) == 40 - held
    assert sorted(training + out, key=images.index) == images
    assert training == sorted(training, key=images.index), "in their order"
    assert hold_out(images[::-1], share, 0)[1] == out[::-1]
    if 1 < held < 39:
        assert hold_out(images, share, 1)[1] != out


def test_a_single_image_is_trained_on():
    assert hold_out(named(1), 0.5, 0) == (named(1), [])


def test_held_out_images_stay_so_when_others_are_added():
    """Of the old images at most as many change sides as images were added."""
    old = {v.name for v in hold_out(named(200), 0.1, 0)[1]}
    new = {v.name for v in hold_out(named(205), 0.1, 0)[1]}
    known = {v.name for v in named(200)}
    assert len(old) == 20 and len(old ^ (new & known)) <= 5
    more = {v.name for v in hold_out(named(200), 0.2, 0)[1]}
    assert old < more, "a larger share keeps the smaller one"


def test_images_grow_in_equal_parts_to_their_size():
    sizes = growing_sizes((256, 192), (0.5, 0.75, 1), 6)
    assert sizes == [(128, 96)] * 2 + [(192, 160)] * 2 + [(256, 192)] * 2 or sizes[2] == (192, 128)
    assert growing_sizes((240, 48), (1,), 3) == [(240, 48)] * 3, "what is predicted with is what is trained with"
    assert len(growing_sizes((64, 64), (0.5, 1), 1)) == 1


def test_a_run_is_its_epochs_from_where_it_stopped():
    batching = Batching(10, 4, 2)
    wanted = [chunk for epoch in (2, 3, 4) for chunk in batching.epoch(epoch, 7)]
    assert list(batching.epochs(2, 5, 7)) == wanted and len(wanted) == 18


def test_copies_are_drawn_more_and_more(tmp_path: Path):
    """From none in the first epoch to all in the last, of (0, 1)."""
    photographs = Photographs(VOCABULARY, SIZE, 10)
    images = with_copies(tmp_path, 1)
    drawn = TrainingSamples(images, photographs, [SIZE] * 101, STILL, 0, (0.0, 1.0))
    flat = [len(np.unique(drawn[epoch, 0][0])) == 1 for epoch in range(101)]
    assert not any(flat[:5]) and all(flat[-5:]) and 0.35 < np.mean(flat) < 0.65
    of = drawn.of(images, [SIZE] * 20)
    assert all(len(np.unique(of[epoch, 0][0])) == 1 for epoch in range(20)), "as in the last epoch"


def test_around_a_copy_stands_another_photograph_in_the_same_copy(tmp_path: Path):
    wide = STILL.model_copy(update={"crop_area": (2.0, 2.0)})
    drawn = TrainingSamples(with_copies(tmp_path, 3), Photographs(VOCABULARY, SIZE, 10), [SIZE] * 9, wide, 0, (1, 1))
    views = [drawn[epoch, index][0] for epoch in range(9) for index in range(3)]
    assert {view.max() for view in views} == {100, 200}
    assert all((view == view.max()).mean() > 0.9 for view in views), "but for a seam"


def test_a_held_out_image_is_read_with_all_of_its_copies(tmp_path: Path):
    (item,) = with_copies(tmp_path, 1)
    images, masks = HeldOut([item], Photographs(VOCABULARY, SIZE, 10), SIZE).batch(item)
    assert len(images) == len(masks) == 3 and torch.equal(masks[0], masks[2])
    photograph, dark, light = images
    assert dark.std((1, 2)).max() < 0.01 < photograph.std() and light.mean() > dark.mean()


def test_photographs_are_kept_at_more_detail(tmp_path: Path):
    item = write_squares(tmp_path, 1, (192, 192))[0]
    for detail, side in ((1.0, 48), (2.5, 120)):
        photographs = Photographs(VOCABULARY, SIZE, 10, detail)
        assert photographs.image(item, item.images[0]).shape == (side, side, 3)
        assert photographs.mask(item.mask).shape == (side, side)
