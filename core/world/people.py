"""People on foot, made of rounded limbs."""

from __future__ import annotations

import numpy as np

from core.world.classes import PERSON
from core.world.materials import Material
from core.world.mesh import Mesh, concat, ellipsoid, tubes


def person(rng: np.random.Generator, shirt: int, trousers: int, skin: int, hair: int) -> Mesh:
    """A walking person at the origin facing +x, about 1.75 m tall."""
    stride = float(rng.uniform(0.05, 0.3)) * (1 if rng.random() < 0.5 else -1)
    swing = -stride * 0.7
    legs = tubes(
        [[0, -0.1, 0.9], [stride * 0.5, -0.1, 0.48], [0, 0.1, 0.9], [-stride * 0.3, 0.1, 0.48]],
        [[stride * 0.5, -0.1, 0.48], [stride * 0.8, -0.1, 0.07], [-stride * 0.3, 0.1, 0.48], [-stride, 0.1, 0.07]],
        [0.095, 0.07, 0.095, 0.07], [0.07, 0.05, 0.07, 0.05], 8, Material.CLOTH, PERSON, trousers,
    )  # fmt: skip
    arms = tubes(
        [[0, -0.23, 1.42], [swing * 0.5, -0.27, 1.14], [0, 0.23, 1.42], [-swing * 0.5, 0.27, 1.14]],
        [[swing * 0.5, -0.27, 1.14], [swing + 0.1, -0.26, 0.9], [-swing * 0.5, 0.27, 1.14], [-swing + 0.1, 0.26, 0.9]],
        [0.065, 0.05, 0.065, 0.05], [0.05, 0.04, 0.05, 0.04], 7, Material.CLOTH, PERSON, shirt,
    )  # fmt: skip
    torso = ellipsoid([0, 0, 1.2], [0.15, 0.235, 0.36], Material.CLOTH, PERSON, shirt)
    hips = ellipsoid([0, 0, 0.92], [0.14, 0.18, 0.16], Material.CLOTH, PERSON, trousers)
    neck = tubes([[0, 0, 1.45]], [[0.01, 0, 1.58]], 0.055, 0.05, 8, Material.SKIN, PERSON, skin)
    head = ellipsoid([0.02, 0, 1.65], [0.1, 0.082, 0.125], Material.SKIN, PERSON, skin)
    crown = ellipsoid([-0.015, 0, 1.69], [0.105, 0.092, 0.11], Material.CLOTH, PERSON, hair)
    feet = [
        ellipsoid([x + 0.06, y, 0.045], [0.14, 0.05, 0.05], Material.CLOTH, PERSON, hair, 5)
        for x, y in ((stride * 0.8, -0.1), (-stride, 0.1))
    ]
    hands = [
        ellipsoid([x, y, 0.85], [0.04, 0.03, 0.07], Material.SKIN, PERSON, skin, 5)
        for x, y in ((swing + 0.11, -0.26), (-swing + 0.11, 0.26))
    ]
    return concat([legs, arms, torso, hips, neck, head, crown, *feet, *hands])
