from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from engine_toys import drain, on_one_thread, toy_network, toy_preprocessing, toy_set

from core.engine.augmentation import AugmentationConfig
from core.engine.dataset import TrainingSet, read_shard, write_shard
from core.engine.optimization import OptimizationConfig
from core.engine.pretraining import PretrainingConfig, crop_surfaces, pretrain, surface_loss
from core.engine.surfaces import NUM_SIZES, SURFACE_BINS, UNKNOWN, encode_surfaces, surface_targets
from core.geometry import Camera, Rigid3d
from core.world.classes import BUILDING, ROAD, SKY, VEGETATION
from core.world.materials import Material
from core.world.render import NO_SURFACE, Rendering

one_thread = pytest.fixture(autouse=True, scope="module")(on_one_thread)

CAMERA = Camera.pinhole(8, 6, 8.0)
LEVEL = Rigid3d.from_rotation(
    np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]), np.array([0.0, 1.5, 0])
)  # 1.5 m up, looks along y


def street() -> Rendering:
    """Sky above, a wall 16 m away in the middle rows, the road below, a leaf and a gap in a crown."""
    material = np.full((6, 8), Material.BRICK, np.uint8)
    material[:2], material[4:] = NO_SURFACE, Material.ASPHALT
    classes = np.where(material == NO_SURFACE, SKY, np.where(material == Material.BRICK, BUILDING, ROAD)).astype(np.uint8)
    material[2, 0], classes[2, 0] = Material.LEAF, VEGETATION
    classes[2, 2] = VEGETATION  # brick seen through a crown
    depth = np.where(material == NO_SURFACE, np.inf, 16.0).astype(np.float32)
    depth[4:] = 8.0
    normals = np.zeros((6, 8, 3), np.float32)
    normals[2:4], normals[4:] = [0, -1, 0], [0, 0, 1]
    rgb = np.zeros((6, 8, 3), np.uint8)
    return Rendering(rgb, depth, classes, depth < 99, CAMERA, LEVEL, "overcast", material, normals)


def test_surfaces_say_material_height_size_and_facing_of_every_second_pixel():
    targets = surface_targets(encode_surfaces(street(), ground_z=0.0), 1.0, False)
    assert targets.shape == (3, 4, 4)
    assert (targets[0] == UNKNOWN).all()
    # the wall's third pixel from the left: row 2 of 6 is half a pixel above the axis, so 1 m above the eye at 16 m
    assert targets[1, 3].tolist() == [Material.BRICK, 3, 0, 4]
    # the road, one step below: 8 m away at 1 px a metre
    assert targets[2, 1].tolist() == [Material.ASPHALT, 0, 0, 0]


def test_leaves_face_nowhere_and_gaps_in_crowns_are_nothing():
    codes = encode_surfaces(street(), ground_z=0.0)
    assert codes[1, 0, 0] == Material.LEAF
    assert codes[1, 0, 3] == UNKNOWN
    assert (codes[1, 1] == UNKNOWN).all()


def test_zoom_moves_apparent_size_by_octaves_and_mirrors_swap_left_and_right():
    codes = np.array(
        [[3, 2, 70, 2], [3, 2, 70, 3], [3, 2, UNKNOWN, UNKNOWN]], np.uint8
    )  # 70: 2 ** (70 / 20 - 1.5) = 4 px a metre
    plain, enlarged = surface_targets(codes, 1.0, False), surface_targets(codes, 4.0, True)
    assert plain[:, 2].tolist() == [2, 2, UNKNOWN]
    assert enlarged[:, 2].tolist() == [4, 4, UNKNOWN]
    assert enlarged[:, 3].tolist() == [3, 2, UNKNOWN]
    assert surface_targets(codes, 1e9, False)[0, 2] == NUM_SIZES - 1


def test_a_rendering_read_from_files_has_no_surfaces_to_encode():
    with pytest.raises(ValueError, match="no surfaces"):
        encode_surfaces(replace(street(), material=None), 0.0)


def test_crops_look_surfaces_up_where_their_cells_lie():
    codes = np.zeros((3, 4, 4), np.uint8)
    codes[..., 0] = np.arange(12).reshape(3, 4)
    identity = np.array([[1.0, 0, 0], [0, 1, 0]])
    targets = crop_surfaces(codes, (6, 8), identity, side=9, cells=5)
    assert targets[:3, :4, 0].tolist() == codes[..., 0].tolist()
    assert (targets[3:] == UNKNOWN).all()
    assert (targets[:, 4] == UNKNOWN).all()


def test_surface_loss_is_the_sum_of_four_means_over_what_is_known():
    torch.manual_seed(0)
    logits = torch.randn(2, sum(SURFACE_BINS), 3, 5)
    targets = torch.stack([torch.randint(0, bins, (2, 3, 5)) for bins in SURFACE_BINS], -1)
    targets[0, 0, 0] = UNKNOWN
    expected, start = 0.0, 0
    for number, bins in enumerate(SURFACE_BINS):
        logs = logits[:, start : start + bins].log_softmax(1)
        terms = [
            -float(logs[n, targets[n, y, x, number], y, x])
            for n in range(2) for y in range(3) for x in range(5) if targets[n, y, x, number] != UNKNOWN
        ]  # fmt: skip
        expected += sum(terms) / len(terms)
        start += bins
    assert float(surface_loss(logits, targets)) == pytest.approx(expected, rel=1e-5)
    assert float(surface_loss(logits, None)) == 0.0


def test_pretraining_learns_surfaces_and_leaves_the_plain_network(tmp_path):
    root = tmp_path / "set"
    toy_set(root, num_views=4)
    shard = read_shard(root / "toy-0")
    blocks = np.asarray(shard.classes)[:, :, ::2, ::2]
    surfaces = np.stack([blocks, blocks, np.full_like(blocks, 70), blocks], -1)
    write_shard(
        root / "toy-0", replace(shard, images=np.array(shard.images), classes=np.array(shard.classes), surfaces=surfaces)
    )
    schedule = OptimizationConfig(iterations=40, batch_size=4, learning_rate=1e-2, warmup=2)
    crops = AugmentationConfig(crop=41, min_scale=0.9, max_scale=1.1, strength=0.0)
    config = PretrainingConfig(optimization=schedule, augmentation=crops, surface_weight=0.5)
    records, network = drain(pretrain(toy_network(), TrainingSet(root), toy_preprocessing(), config, seed=1))
    first, last = (np.mean([record.parts["surface"] for record in part]) for part in (records[:5], records[-5:]))
    assert last < 0.8 * first
    assert set(network.state_dict()) == set(toy_network().state_dict())
