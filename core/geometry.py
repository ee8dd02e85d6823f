"""Rigid transforms and cameras.

Frames: world is right-handed, metres. Camera is x right, y down, z forward. Pixels are OpenCV's: the centre of the
top-left pixel is (0, 0). ``a_from_c = a_from_b @ b_from_c``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]


def frozen_array(value: ArrayLike, dtype: Any, shape: tuple[int | None, ...], name: str) -> Array:
    """Cast to a read-only contiguous array and check its shape; ``None`` in ``shape`` accepts any length."""
    array = value if _never_changes(value, dtype) else np.array(value, dtype=dtype, order="C")
    fits = array.ndim == len(shape) and all(w is None or w == g for w, g in zip(shape, array.shape, strict=True))
    if not fits:
        wanted = ", ".join("N" if n is None else str(n) for n in shape)
        raise ValueError(f"{name} has shape {array.shape}, expected ({wanted})")
    array.setflags(write=False)
    return array


def _never_changes(value: ArrayLike, dtype: Any) -> bool:
    """Whether a value is an array of that type that nobody can write to, so that no copy is needed."""
    if type(value) is not np.ndarray or value.dtype != dtype or value.base is not None:
        return False
    return value.flags.c_contiguous and not value.flags.writeable


def rotation_from_quaternion(qvec: ArrayLike) -> Array:
    """Return the (3, 3) rotation matrix of a unit quaternion in the order qw qx qy qz (Hamilton)."""
    w, x, y, z = np.asarray(qvec, dtype=np.float64)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def quaternion_from_rotation(R: ArrayLike) -> Array:
    """Return the unit quaternion (4,) with qw >= 0 of a (3, 3) rotation matrix."""
    m = np.asarray(R, dtype=np.float64)
    # The largest eigenvector of this symmetric matrix is the closest quaternion (Bar-Itzhack 2000).
    k = np.array(
        [
            [m[0, 0] + m[1, 1] + m[2, 2], 0, 0, 0],
            [m[2, 1] - m[1, 2], m[0, 0] - m[1, 1] - m[2, 2], 0, 0],
            [m[0, 2] - m[2, 0], m[0, 1] + m[1, 0], m[1, 1] - m[0, 0] - m[2, 2], 0],
            [m[1, 0] - m[0, 1], m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], m[2, 2] - m[0, 0] - m[1, 1]],
        ]
    )
    q = np.linalg.eigh(k)[1][:, -1]
    return q if q[0] >= 0 else -q


@dataclass(frozen=True, slots=True, eq=False)
class Rigid3d:
    """``x_in_b = R @ x_in_a + t``; name a value ``b_from_a``.

    ``qvec`` (4,) f64 unit quaternion qw qx qy qz (Hamilton); ``tvec`` (3,) f64 metres.
    Raises ValueError for non-finite values or a quaternion that has no length.
    """

    qvec: Array
    tvec: Array

    def __post_init__(self) -> None:
        qvec = frozen_array(self.qvec, np.float64, (4,), "qvec")
        tvec = frozen_array(self.tvec, np.float64, (3,), "tvec")
        norm = float(np.linalg.norm(qvec))
        if not (np.isfinite(tvec).all() and np.isfinite(norm) and norm > 1e-12):
            raise ValueError(f"pose is not finite or has no rotation: qvec {qvec.tolist()}, tvec {tvec.tolist()}")
        object.__setattr__(self, "qvec", frozen_array(qvec / norm, np.float64, (4,), "qvec"))
        object.__setattr__(self, "tvec", tvec)

    @classmethod
    def identity(cls) -> Rigid3d:
        return cls(np.array([1.0, 0, 0, 0]), np.zeros(3))

    @classmethod
    def from_rotation(cls, R: ArrayLike, tvec: ArrayLike) -> Rigid3d:
        """Build from a (3, 3) rotation matrix and a (3,) translation."""
        return cls(quaternion_from_rotation(R), np.asarray(tvec))

    @property
    def R(self) -> Array:
        """(3, 3) f64 rotation matrix."""
        return rotation_from_quaternion(self.qvec)

    def matrix(self) -> Array:
        """(3, 4) f64 [R | t]."""
        return np.hstack([self.R, self.tvec[:, None]])

    def inverse(self) -> Rigid3d:
        conjugate = self.qvec * np.array([1.0, -1, -1, -1])
        return Rigid3d(conjugate, -self.R.T @ self.tvec)

    def center(self) -> Array:
        """(3,) position of frame b's origin in frame a; for ``cam_from_world`` the camera centre in the world."""
        return -self.R.T @ self.tvec

    def apply(self, points: ArrayLike) -> Array:
        """Transform (N, 3) points of frame a into frame b."""
        return np.asarray(points, dtype=np.float64).reshape(-1, 3) @ self.R.T + self.tvec

    def __matmul__(self, other: Rigid3d) -> Rigid3d:
        R = self.R
        return Rigid3d.from_rotation(R @ other.R, R @ other.tvec + self.tvec)


def rotation_angle_deg(a: Rigid3d, b: Rigid3d) -> float:
    """Angle of the rotation between two poses, in degrees (PAPER 4.1: 2 |arccos <q_a, q_b>|)."""
    relative = a.R @ b.R.T
    skew = np.array([relative[2, 1] - relative[1, 2], relative[0, 2] - relative[2, 0], relative[1, 0] - relative[0, 1]])
    return float(np.degrees(np.arctan2(np.linalg.norm(skew) / 2, (np.trace(relative) - 1) / 2)))


# COLMAP's camera models and how many parameters each has.
NUM_CAMERA_PARAMS = {
    "SIMPLE_PINHOLE": 3,
    "PINHOLE": 4,
    "SIMPLE_RADIAL": 4,
    "RADIAL": 5,
    "OPENCV": 8,
    "OPENCV_FISHEYE": 8,
    "FULL_OPENCV": 12,
    "FOV": 5,
    "SIMPLE_RADIAL_FISHEYE": 4,
    "RADIAL_FISHEYE": 5,
    "THIN_PRISM_FISHEYE": 12,
    "RAD_TAN_THIN_PRISM_FISHEYE": 16,
    "SIMPLE_DIVISION": 4,
    "DIVISION": 5,
    "SIMPLE_FISHEYE": 3,
    "FISHEYE": 4,
    "EUCM": 6,
    "EQUIRECTANGULAR": 2,
}
_ONE_FOCAL = frozenset(name for name in NUM_CAMERA_PARAMS if name.startswith(("SIMPLE_", "RADIAL")))
SPHERICAL = "EQUIRECTANGULAR"  # the only model without focal length and principal point: its parameters are width and height


def focal_and_center(model: str) -> tuple[int, int, int, int]:
    """Where fx, fy, cx and cy stand in COLMAP's parameters of a model that has them (any but ``SPHERICAL``)."""
    return (0, 0, 1, 2) if model in _ONE_FOCAL else (0, 1, 2, 3)


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """Intrinsics: a COLMAP camera ``model`` name, ``width`` and ``height`` in px, ``params`` in COLMAP's order.

    The principal point is in OpenCV pixels; ``core.scene.colmap`` takes COLMAP's half pixel away when it reads. ``K`` of a
    spherical camera is that of the pinhole camera that agrees with it in the middle of the image.
    """

    model: str
    width: int
    height: int
    params: Array
    K: Array = field(init=False)

    def __post_init__(self) -> None:
        if self.model not in NUM_CAMERA_PARAMS:
            raise ValueError(f"camera model {self.model!r} is not known; expected one of {', '.join(NUM_CAMERA_PARAMS)}")
        if self.width < 1 or self.height < 1:
            raise ValueError(f"camera size is {self.width} x {self.height}, expected at least 1 x 1")
        params = frozen_array(self.params, np.float64, (NUM_CAMERA_PARAMS[self.model],), f"params of {self.model}")
        fx, fy, cx, cy = self._pinhole(params)
        if not np.isfinite(params).all() or fx <= 0 or fy <= 0:
            raise ValueError(f"camera parameters must be finite with positive focal lengths, got {params.tolist()}")
        object.__setattr__(self, "params", params)
        K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        object.__setattr__(self, "K", frozen_array(K, np.float64, (3, 3), "K"))

    @classmethod
    def pinhole(cls, width: int, height: int, focal: float) -> Camera:
        """A pinhole camera with its principal point in the middle of the image."""
        return cls("PINHOLE", width, height, np.array([focal, focal, (width - 1) / 2, (height - 1) / 2]))

    @property
    def has_distortion(self) -> bool:
        return self.model not in ("PINHOLE", "SIMPLE_PINHOLE")

    def project(self, points: ArrayLike) -> Array:
        """Project (N, 3) points of the camera frame to (N, 2) f64 px, distortion included.

        NaN where z <= 0, except that a spherical camera sees all around, and where the model has no pixel for a point.
        """
        points = np.asarray(points, dtype=np.float64).reshape(-1, 3)
        in_front = points[:, 2] > 1e-9 if self.model != SPHERICAL else np.isfinite(points).all(axis=1)
        pixels = np.full((len(points), 2), np.nan)
        if self.has_distortion:
            pixels[in_front] = self._pycolmap_camera().img_from_cam(points[in_front]) - self._half_pixel
        else:
            pixels[in_front] = points[in_front, :2] / points[in_front, 2:] * self.K[[0, 1], [0, 1]] + self.K[:2, 2]
        return pixels

    def bearings(self, points2D: ArrayLike) -> Array:
        """Unit rays (N, 3) f64 in the camera frame through (N, 2) px, distortion removed; NaN where the model has no ray."""
        points2D = np.asarray(points2D, dtype=np.float64).reshape(-1, 2)
        if self.has_distortion:
            return np.asarray(self._pycolmap_camera().cam_ray_from_img(points2D + self._half_pixel)).reshape(-1, 3)
        normalized = (points2D - self.K[:2, 2]) / self.K[[0, 1], [0, 1]]
        rays = np.hstack([normalized, np.ones((len(normalized), 1))])
        return rays / np.linalg.norm(rays, axis=1, keepdims=True)

    def scaled(self, width: int, height: int) -> Camera:
        """The same camera for the image resized to ``width`` x ``height``."""
        sx, sy = width / self.width, height / self.height
        params = self.params.copy()
        if self.model == SPHERICAL:
            return Camera(self.model, width, height, params * [sx, sy])
        fx, fy, cx, cy = focal_and_center(self.model)
        for index, scale in {fx: sx, fy: sy}.items():
            params[index] *= scale
        for index, scale in ((cx, sx), (cy, sy)):
            params[index] = (params[index] + 0.5) * scale - 0.5  # pixel areas scale, not pixel centres
        return Camera(self.model, width, height, params)

    def _pinhole(self, params: Array) -> tuple[float, float, float, float]:
        """fx, fy, cx, cy, in px; of a spherical camera px a radian in its middle."""
        if self.model == SPHERICAL:
            width, height = params
            return width / (2 * np.pi), height / np.pi, width / 2 - 0.5, height / 2 - 0.5
        return tuple(params[i] for i in focal_and_center(self.model))

    @property
    def _half_pixel(self) -> float:
        """What COLMAP's pixels are ahead of ours where no principal point takes it up."""
        return 0.5 if self.model == SPHERICAL else 0.0

    def _pycolmap_camera(self) -> Any:
        import pycolmap  # heavy, and only distorted cameras need it

        return pycolmap.Camera(model=self.model, width=self.width, height=self.height, params=self.params.tolist())
