"""What worlds know of every surface beside its class: material, height, apparent size and facing, as training targets.

None of the four changes with season or light, so features that know them can be cut into fine labels that hold; apparent
size and facing change with the place of the camera. The paper pre-trains on classes alone (PAPER 4.2, "Seg"); this goes
beyond it and costs no annotation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.geometry import Array
from core.world.classes import VEGETATION
from core.world.materials import Material
from core.world.render import NO_SURFACE, Rendering

UNKNOWN = 255
HEIGHTS_M = (0.25, 0.8, 1.6, 2.8, 4.5, 7.0, 11.0, 18.0)  # borders of the heights above the ground
NUM_SIZES = 9
NUM_FACINGS = 7
SURFACE_NAMES = ("material", "height", "size", "facing")
SURFACE_BINS = (len(Material), len(HEIGHTS_M) + 1, NUM_SIZES, NUM_FACINGS)
_SIZE_STEPS = 20  # codes an octave of px per metre
_SIZE_LOWEST = -1.5  # log2 px per metre of code 0
_FACINGS = np.array([[0, -1, 0], [0, 1, 0], [-1, 0, 0], [1, 0, 0], [0, 0, -1], [-0.7, 0, -0.7], [0.7, 0, -0.7]], np.float32)
_MIRRORED = np.array([0, 1, 3, 2, 4, 6, 5, *range(7, 256)], np.uint8)
_LEAFY = (Material.LEAF, Material.NEEDLE)
_WOODY = (*_LEAFY, Material.BARK)
_FLEETING = (Material.SNOW_PILE,)


def encode_surfaces(rendering: Rendering, ground_z: float) -> NDArray[np.uint8]:
    """Codes (ceil(H/2), ceil(W/2), 4) of every second pixel: material, height bin, log px per metre, facing bin; UNKNOWN: none.

    ``ground_z``: world z of the ground below the camera. Facing is that of the surface seen from the camera: up, down,
    left, right, towards it and half way; foliage has none. A gap in a bare crown has no surface at all.
    """
    part = (slice(None, None, 2), slice(None, None, 2))
    if rendering.material is None or rendering.normals is None:
        raise ValueError("the rendering has no surfaces, expected one fresh from the renderer")
    material, depth = rendering.material[part], rendering.depth[part]
    gap = (rendering.classes[part] == VEGETATION) & ~np.isin(material, _WOODY)
    hit = (material != NO_SURFACE) & ~np.isin(material, _FLEETING) & ~gap
    camera, pose = rendering.camera, rendering.cam_from_world
    rows, columns = np.mgrid[: camera.height : 2, : camera.width : 2]
    bearings = camera.bearings(np.stack([columns, rows], -1).reshape(-1, 2)).reshape(*material.shape, 3)
    in_camera = bearings / bearings[..., 2:] * np.where(hit, depth, 1)[..., None]
    height = (in_camera @ pose.R)[..., 2] + pose.center()[2] - ground_z
    size = np.log2(camera.K[0, 0] / np.where(hit, depth, 1))
    facing = np.argmax((rendering.normals[part] @ pose.R.T.astype(np.float32)) @ _FACINGS.T / _lengths(), axis=-1)
    codes = np.stack(
        [
            material,
            np.digitize(height, HEIGHTS_M),
            np.clip(np.round((size - _SIZE_LOWEST) * _SIZE_STEPS), 0, UNKNOWN - 1),
            np.where(np.isin(material, _LEAFY), UNKNOWN, facing),
        ],
        axis=-1,
    )
    return np.where(hit[..., None], codes, UNKNOWN).astype(np.uint8)


def _lengths() -> Array:
    return np.linalg.norm(_FACINGS, axis=1)


def surface_targets(codes: Array, zoom: float, mirrored: bool) -> NDArray[np.int64]:
    """Bins (..., 4) i64, UNKNOWN where there are none, of codes (..., 4) seen ``zoom`` times enlarged, perhaps mirrored.

    Apparent size is in octaves from one px per metre; what is smaller or larger counts with the first or last.
    """
    targets = codes.astype(np.int64)
    size = np.floor(codes[..., 2] / _SIZE_STEPS + _SIZE_LOWEST + np.log2(zoom))
    targets[..., 2] = np.where(codes[..., 2] == UNKNOWN, UNKNOWN, np.clip(size, 0, NUM_SIZES - 1))
    if mirrored:
        targets[..., 3] = _MIRRORED[codes[..., 3]]
    return targets
