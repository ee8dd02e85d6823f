"""The surface materials that textures know, one small number each."""

from __future__ import annotations

from enum import IntEnum


class Material(IntEnum):
    """What a triangle is made of; ``core.world.shading`` maps each to its texture function."""

    ASPHALT = 0
    PAVING = 1
    COBBLE = 2
    KERB = 3
    GRASS = 4
    GRAVEL = 5
    BRICK = 6
    PLASTER = 7
    ASHLAR = 8
    CLADDING = 9
    ROOF_TILE = 10
    ROOF_FLAT = 11
    WINDOW = 12
    DOOR = 13
    TRIM = 14
    METAL = 15
    PAINT = 16
    CAR_GLASS = 17
    TYRE = 18
    HEADLIGHT = 19
    TAILLIGHT = 20
    SIGN = 21
    POSTER = 22
    SHOP_SIGN = 23
    LEAF = 24
    NEEDLE = 25
    BARK = 26
    CLOTH = 27
    SKIN = 28
    WATER = 29
    SNOW_PILE = 30
    HILL = 31
    FAR_CITY = 32
    LAMP = 33
    PLANK = 34
    AWNING = 35
    SOIL = 36
