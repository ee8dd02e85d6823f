"""How well an image's labels fit labelled map points seen from many poses at once; no descriptors (PAPER 3.5)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from core.errors import InputError
from core.geometry import Array, Camera, Rigid3d
from core.localizer.label_plane import label_plane
from core.localizer.view_labels import labels_around
from core.records import LabelMap, LabelStatistics, SceneMap, setting

_MAX_VOLUME = 32 << 20  # cells of one image's likelihood volume: 128 MB
_MAX_BLOCK = 1 << 17  # poses x points at once: 512 kB a tensor, which stays near the processor
_MAX_BLOCK_CUDA = 1 << 23
_MIN_DEPTH_M = 0.1
_NOTHING = 1e-20  # a log ratio within the image that says nothing: only beside the image it is 0


@dataclass(frozen=True, kw_only=True)
class LikelihoodConfig:
    eps: float = setting(
        0.2, minimum=1e-6, maximum=0.9, help="how often a label differs from its point's where no statistics are given"
    )
    floor: float = setting(
        0.05, minimum=1e-6, maximum=0.9, help="share of pixels that show something else, whatever the statistics say"
    )
    prior_counts: float = setting(
        50.0, minimum=0.0, maximum=1e6, help="a label seen this often in the statistics is believed half"
    )
    confidence: float = setting(
        1.0, minimum=0.0, maximum=1.0, help="power of the network's confidence with which a pixel counts; 0: all alike"
    )
    max_points: int = setting(5000, minimum=100, maximum=1_000_000, help="points looked at for one image, rare labels first")
    min_visible: int = setting(50, minimum=1, maximum=100_000, help="with fewer visible points a pose's likelihood shrinks")
    crowd: float = setting(
        0.8, minimum=0.0, maximum=1.0, help="it also shrinks with fewer than this share of the points that the best pose sees"
    )
    same_place_m: float = setting(
        3.0,
        unit="m",
        minimum=0.0,
        maximum=100.0,
        help="poses spread less than this are compared over the points visible from their middle, not each over its own",
    )
    cells_across: int = setting(256, minimum=8, maximum=4096, help="labels are gathered in square cells, so many in a row")
    blur_cells: float = setting(1.0, minimum=0.0, maximum=20.0, help="how far a label may lie from where its point projects")
    angle_slack_deg: float = setting(
        15.0, unit="deg", minimum=0.0, maximum=180.0, help="a point counts as visible this far beside the views that saw it"
    )
    distance_slack: float = setting(
        1.2, minimum=1.0, maximum=10.0, help="a point counts as visible up to this many times the distances of those views"
    )


@dataclass(frozen=True, slots=True, eq=False)
class LabelledPoints:
    """The stationary places of a map (``labels_around``), as P f32 columns on a device.

    ``origin`` (3,) f64 world position that is taken off all coordinates; ``points`` and ``direction`` (P, 3);
    ``cos_half_angle``, ``near``, ``far`` (P,) with slack; ``labels`` (P,) i64; ``weights`` (P,).
    """

    origin: Array
    points: Tensor
    direction: Tensor
    cos_half_angle: Tensor
    near: Tensor
    far: Tensor
    labels: Tensor
    weights: Tensor
    num_labels: int
    vocabulary: str

    def __len__(self) -> int:
        return len(self.points)

    def part(self, rows: Tensor | slice) -> LabelledPoints:
        columns = (self.points, self.direction, self.cos_half_angle, self.near, self.far, self.labels, self.weights)
        return LabelledPoints(self.origin, *(column[rows] for column in columns), self.num_labels, self.vocabulary)


def labelled_points(
    scene_map: SceneMap, statistics: LabelStatistics | None, config: LikelihoodConfig, device: str = "cpu"
) -> LabelledPoints:
    """Gather what the likelihood needs of a map.

    Raises InputError for a map without labels or visibility, with statistics of another vocabulary, or where no
    stationary point is left.
    """
    labels, visibility = scene_map.labels, scene_map.visibility
    if labels is None:
        raise InputError("the map has no labels, which the particle filter compares; add them with `label`")
    if visibility is None:
        raise InputError("the map does not know from where its points were seen; build it again from its images")
    if statistics is not None:
        require_vocabulary(statistics, labels.vocabulary, labels.num_labels)
    views = labels_around(scene_map, config.distance_slack)
    use = np.isfinite(views.points3D).all(axis=1)
    if statistics is not None:
        use &= statistics.stationary[views.labels]
    rows = np.flatnonzero(use)
    if not len(rows):
        raise InputError(f"none of the map's {len(scene_map.points3D)} points has a stationary label and was seen by an image")
    rows = rows[np.argsort(views.labels[rows], kind="stable")]  # neighbours in memory read neighbouring likelihoods
    point = views.point[rows]
    half = np.minimum(visibility.angle_rad[point] / 2 + np.radians(config.angle_slack_deg), np.pi)
    origin = views.points3D[rows].mean(axis=0)

    def column(values: Array, kind: torch.dtype = torch.float32) -> Tensor:
        return torch.as_tensor(np.array(values), device=device).to(kind)

    return LabelledPoints(
        origin,
        column(views.points3D[rows] - origin),
        column(visibility.direction[point]),
        column(np.cos(half)),
        column(views.near[rows]),
        column(views.far[rows]),
        column(views.labels[rows], torch.int64),
        column(views.weights[rows]),
        labels.num_labels,
        labels.vocabulary,
    )


def require_vocabulary(other: LabelStatistics | LabelMap, vocabulary: str, num_labels: int, who: str = "") -> None:
    if (other.vocabulary, other.num_labels) != (vocabulary, num_labels):
        kind = "label statistics" if isinstance(other, LabelStatistics) else "labels"
        raise InputError(
            f"{who}the {kind} are of the vocabulary {other.vocabulary!r} ({other.num_labels} labels), the map's labels of "
            f"{vocabulary!r} ({num_labels} labels); use one network for both"
        )


def label_probabilities(statistics: LabelStatistics | None, num_labels: int, config: LikelihoodConfig) -> Array:
    """P(query label | point label) as (K, K) f64 rows that add up to 1 and hold no zero.

    With statistics: the counts of the joint, smoothed towards how often each query label occurs; without: the label
    itself, or with probability ``eps`` any other.
    """
    if statistics is None:
        other = config.eps / max(1, num_labels - 1)
        rows = np.full((num_labels, num_labels), other) + np.eye(num_labels) * (1 - config.eps - other)
    else:
        occurs = statistics.joint.sum(axis=0) + 1.0 / num_labels
        occurs /= occurs.sum()
        rows = statistics.joint + max(config.prior_counts, 1e-9) * occurs
        rows /= rows.sum(axis=1, keepdims=True)
    rows = rows / rows.sum(axis=1, keepdims=True)
    return (1 - config.floor) * rows + config.floor / num_labels


@dataclass(frozen=True, slots=True, eq=False)
class LabelVolume:
    """Log-likelihood ratios of one image: ``values`` (U * (height + 2) * (width + 2),) f32, a plane of cells for each of
    the U point labels in use, with a border of zeros, that nothing within has: what lies beside the image says nothing.

    ``plane_of_label`` (K,) i64; ``camera`` is the pinhole whose pixels the cells of ``cell_px`` divide.
    """

    values: Tensor
    plane_of_label: Tensor
    camera: Camera
    cell_px: int
    width: int
    height: int


def label_volume(
    labels: LabelMap, camera: Camera, probabilities: Array, used: Array, config: LikelihoodConfig, device: str = "cpu"
) -> LabelVolume:
    """Compute log P(cell | point label) / P(cell) for the point labels ``used`` (U,) over the image's cells.

    P(cell | label) is the mean over the blurred cell of P(query label | point label) over the label's share of the
    image, so that a pose that shows nothing of the map scores 0. A pixel of confidence c (to the power of the setting)
    counts as its label with c and as nothing known with 1 - c. Distorted images are seen through the pinhole with the same K.
    """
    pixels, confidence, camera = _straight(labels, camera, config.confidence)
    counts = np.bincount(pixels.ravel(), minlength=len(probabilities))
    present = np.flatnonzero(counts)
    cell = _cell_side(pixels.shape, max(len(present), len(used)), config.cells_across)
    histogram = _cell_histogram(_ranks(present, len(counts))[pixels], confidence, len(present), cell, device)
    shares = (counts[present] + 1.0) / (pixels.size + len(present))
    ratios = torch.as_tensor(probabilities[np.ix_(used, present)] / shares, dtype=torch.float32, device=device)
    kinds, height, width = histogram.shape
    known = _blurred(histogram, config.blur_cells).reshape(kinds, -1)
    likelihood = torch.addmm((1 - known.sum(dim=0)).clamp_min(0)[None], ratios, known)
    values = likelihood.clamp_min_(1e-6).log_().add_(_NOTHING)  # changes 0 alone
    values = F.pad(values.reshape(-1, height, width), (1, 1, 1, 1)).reshape(-1)
    planes = torch.as_tensor(_ranks(used, len(counts)), device=device)
    return LabelVolume(values, planes, camera, cell, width, height)


def _ranks(chosen: Array, count: int) -> Array:
    """The place (count,) i64 of each number among the chosen ones; 0 for others."""
    ranks = np.zeros(count, np.int64)
    ranks[chosen] = np.arange(len(chosen))
    return ranks


def _straight(labels: LabelMap, camera: Camera, power: float) -> tuple[Array, Array | None, Camera]:
    """Pixels, confidence (None: 1 everywhere) and camera of the image as a pinhole sees it."""
    plain = labels.confidence is None or power == 0
    plane = label_plane(replace(labels, confidence=None) if plain else labels, camera)
    if plain:
        return plane.labels, plane.confidence if camera.has_distortion else None, plane.camera
    return plane.labels, plane.confidence**power, plane.camera


def _cell_side(shape: tuple[int, int], kinds: int, cells_across: int) -> int:
    """The side of a cell in px, grown until the volume fits."""
    side = max(1, round(max(shape) / cells_across))
    while kinds * (-(-shape[0] // side)) * (-(-shape[1] // side)) > _MAX_VOLUME:
        side += 1
    return side


def _cell_histogram(index: Array, confidence: Array | None, kinds: int, cell: int, device: str) -> Tensor:
    """Share of each kind of label in each cell, (kinds, h, w) f32, weighted by confidence; a cell adds up to at most 1."""
    height, width = (-(-side // cell) for side in index.shape)
    rows, columns = (np.arange(side, dtype=np.int32) // cell for side in index.shape)
    size = np.outer(np.bincount(rows), np.bincount(columns)).reshape(-1)
    flat = index.astype(np.int32) * np.int32(height * width)
    flat += rows[:, None] * np.int32(width) + columns
    share = (1 / size).astype(np.float32)[flat % np.int32(height * width)]
    weights = share if confidence is None else share * confidence
    histogram = torch.zeros(kinds * height * width, device=device)
    place = torch.as_tensor(flat.reshape(-1).astype(np.int64), device=device)
    histogram.scatter_add_(0, place, torch.as_tensor(np.ascontiguousarray(weights, np.float32).reshape(-1), device=device))
    return histogram.reshape(kinds, height, width)


def _blurred(histogram: Tensor, sigma: float) -> Tensor:
    """Blur every plane by a Gaussian of ``sigma`` cells, cut off at four of them and made whole again at the border."""
    if sigma < 0.2:
        return histogram
    reach = math.ceil(4 * sigma)
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2).tolist()
    for axis in (1, 2):
        side = histogram.shape[axis]
        whole = torch.ones_like(histogram[:1, :, :1] if axis == 1 else histogram[:1, :1])
        histogram = _tapped(histogram, taps, axis, side).div_(_tapped(whole, taps, axis, side))
    return histogram


def _tapped(planes: Tensor, taps: list[float], axis: int, side: int) -> Tensor:
    """The weighted sum of planes moved along an axis; zeros come in."""
    total = torch.zeros_like(planes)
    reach = len(taps) // 2
    for shift, tap in zip(range(-reach, reach + 1), taps):
        length = side - abs(shift)
        if length > 0:
            source = planes.narrow(axis, max(0, shift), length)
            total.narrow(axis, max(0, -shift), length).add_(source, alpha=tap)
    return total


def mean_log_ratios(
    points: LabelledPoints,
    volume: LabelVolume,
    rotations: Array,
    centers: Array,
    config: LikelihoodConfig,
) -> tuple[Array, Array]:
    """Mean log-likelihood ratio (N,) f64 over the points visible from each pose, and how many are visible (N,) i64.

    ``rotations`` (N, 3, 3) cam_from_world, ``centers`` (N, 3) world. Visible is what projects into the image from within
    the distances and angles of the mapping views (PAPER 3.1). What is beside the image does not count: were it 0, a step
    back would win, because it brings more points in. Poses that lie within ``same_place_m`` (root mean square) of their
    median must explain the same points, those visible from there: else one gains by leaving out what does not fit. The sum
    is divided by no less than ``crowd`` of what the best pose
    sees, nor than ``min_visible`` points: from the edge of the map a few points that happen to fit would otherwise beat the
    whole street. Memory is bounded.
    """
    middle = np.median(centers, axis=0)
    together = np.sqrt(((centers - middle) ** 2).sum(axis=1).mean()) < config.same_place_m
    if together:
        points = points.part(_visible_from(points, middle))
    world = points.points.double() - torch.as_tensor(middle - points.origin, device=points.points.device)
    homogeneous = torch.cat([world.float(), torch.ones_like(points.weights)[:, None]], dim=1)
    poses = torch.as_tensor(_projections(volume, rotations, centers - middle), device=world.device, dtype=torch.float32)
    total = torch.zeros(len(centers), device=world.device)
    seen = torch.zeros(len(centers), 2, device=world.device)
    radius = float(np.linalg.norm(centers - middle, axis=1).max())
    certain = torch.ones_like(points.weights, dtype=torch.bool)
    if not together:
        certain = _surely_visible(points, homogeneous[:, :3], radius)
    block = _Block(poses, volume, _MAX_BLOCK if world.device.type == "cpu" else _MAX_BLOCK_CUDA)
    for rows, sure in ((certain, True), (~certain, False)):
        chosen, places = points.part(rows), homogeneous[rows]
        for begin in range(0, len(chosen), block.num_points):
            part = slice(begin, begin + block.num_points)
            some, place = chosen.part(part), places[part]
            visible = None if sure else block.visible(place, some)
            values = block.looked_up(place, some.labels)
            if visible is not None:
                values.mul_(visible)
            total.addmv_(values.T, some.weights)
            seen.addmm_(values.ne_(0).T, torch.stack([some.weights, torch.ones_like(some.weights)], dim=1))
    total, weight, count = (column.double().cpu().numpy() for column in (total, *seen.unbind(1)))
    usual = float(points.weights.mean()) if len(points) else 1.0
    least = max(config.crowd * float(weight.max()), config.min_visible * usual, 1e-6)
    return total / np.maximum(weight, least), count.astype(np.int64)


def _visible_from(points: LabelledPoints, center: Array) -> Tensor:
    """Which points (P,) are visible from a position (3,) m in the world."""
    offset = torch.as_tensor(center - points.origin, dtype=torch.float32, device=points.points.device) - points.points
    distance = offset.norm(dim=1)
    within = (distance > points.near) & (distance < points.far)
    return within & ((offset * points.direction).sum(1) > points.cos_half_angle * distance)


def _surely_visible(points: LabelledPoints, world: Tensor, radius: float) -> Tensor:
    """Which points (P,) every position within ``radius`` m of the frame's origin sees; a little short of the limits.

    A point in doubt is left to the test of each pose, so that this choice changes no result.
    """
    distance = world.norm(dim=1).clamp_min(1e-6)
    within = (distance - radius > 1.001 * points.near) & (1.001 * (distance + radius) < points.far)
    angle = torch.acos((-(world * points.direction).sum(1) / distance).clamp(-1, 1))
    turn = torch.asin((radius / distance).clamp(max=1.0))
    return within & (distance > radius) & (angle + turn + 0.002 < torch.acos(points.cos_half_angle.clamp(-1, 1)))


def _projections(volume: LabelVolume, rotations: Array, centers: Array) -> Array:
    """(5, 4, N) f64 columns that give, of a homogeneous point: x and y in cells from the border's corner times z, z, its
    squared distance without the point's own squared length, and (with a direction) how far the pose lies along it.
    """
    scale, shift = 1 / volume.cell_px, 0.5 / volume.cell_px + 1
    K = volume.camera.K
    rows = np.array([[K[0, 0] * scale, 0, K[0, 2] * scale + shift], [0, K[1, 1] * scale, K[1, 2] * scale + shift], [0, 0, 1]])
    projection = rows @ rotations
    offset = -np.einsum("nij,nj->ni", projection, centers)
    top = np.concatenate([projection, offset[:, :, None]], axis=2)
    center = np.concatenate([centers, np.ones((len(centers), 1))], axis=1)
    length = (centers**2).sum(axis=1)
    last = np.concatenate([-2 * centers, length[:, None]], axis=1)
    return np.ascontiguousarray(np.concatenate([top, last[:, None], center[:, None]], axis=1).transpose(1, 2, 0))


class _Block:
    """Compares some points at a time with the poses (5, 4, N) of ``_projections``; its tensors (points, N) are used again.

    A point's row holds the cells where all the poses see it, which lie side by side in memory.
    """

    def __init__(self, poses: Tensor, volume: LabelVolume, size: int) -> None:
        self.poses, self.volume = poses, volume
        self.num_points = max(1, size // max(1, poses.shape[2]))
        self._floats = poses.new_empty(3, self.num_points, poses.shape[2])
        self._cells = poses.new_empty(2, self.num_points, poses.shape[2], dtype=torch.int32)

    def looked_up(self, homogeneous: Tensor, labels: Tensor) -> Tensor:
        """The volume's values (p, N) where points (p, 4) of the given labels project; 0 beside the image and behind it."""
        volume, across, down = self.volume, self.volume.width + 2, self.volume.height + 2
        x, y, z = (torch.mm(homogeneous, self.poses[i], out=self._floats[i, : len(labels)]) for i in range(3))
        torch.threshold_(z, _MIN_DEPTH_M, -1e-9)  # behind the camera is far outside the image
        column, row = self._cells[:, : len(labels)]
        column.copy_(x.div_(z).clamp_(0, across - 1))
        row.copy_(y.div_(z).clamp_(0, down - 1))
        plane = (volume.plane_of_label[labels] * (across * down)).int()
        place = column.add_(row, alpha=across).add_(plane[:, None])
        return torch.index_select(volume.values, 0, place.view(-1), out=x.view(-1)).view(place.shape)

    def visible(self, homogeneous: Tensor, points: LabelledPoints) -> Tensor:
        """1 where the points (p, 4) lie within the distances and angles of the views that saw them, else 0; (p, N) f32."""
        squared, towards = self._floats[1:, : len(points)]
        torch.mm(homogeneous, self.poses[3], out=squared).add_((homogeneous[:, :3] ** 2).sum(1, keepdim=True))
        along = (homogeneous[:, :3] * points.direction).sum(1, keepdim=True)
        torch.mm(torch.cat([points.direction, -along], dim=1), self.poses[4], out=towards)
        inside = (squared > points.near[:, None] ** 2) & (squared < points.far[:, None] ** 2)
        cosine = points.cos_half_angle * points.cos_half_angle.abs()
        inside &= towards.mul_(towards.abs()) > squared.mul_(cosine[:, None])
        return inside.float()


def rotations_of(qvec: Array) -> Array:
    """(N, 3, 3) rotation matrices of (N, 4) unit quaternions."""
    w, x, y, z = np.moveaxis(qvec, -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def near_points(points: LabelledPoints, centers: Array, max_points: int, rng: np.random.Generator) -> LabelledPoints:
    """The points that some of the given positions (N, 3) may see; of more than ``max_points`` a choice.

    The choice favours rare labels and thinly filled places, because a thousand points of one wall say little more
    than a hundred do.
    """
    middle = np.median(centers, axis=0)
    radius = float(np.linalg.norm(centers - middle, axis=1).max())
    center = torch.as_tensor(middle - points.origin, dtype=torch.float32, device=points.points.device)
    offset = center - points.points
    distance = offset.norm(dim=1)
    reachable = (distance < points.far + radius) & (distance > points.near - radius)
    angle = torch.acos(((offset * points.direction).sum(1) / distance.clamp_min(1e-6)).clamp(-1, 1))
    turn = torch.asin((radius / distance.clamp_min(1e-6)).clamp(max=1.0))
    within = angle < torch.acos(points.cos_half_angle.clamp(-1, 1)) + turn
    rows = (reachable & (within | (distance <= radius))).nonzero()[:, 0]
    if len(rows) > max_points:
        rows = rows[_choose(points.part(rows), max_points, rng)]
    return points.part(rows)


def _choose(points: LabelledPoints, count: int, rng: np.random.Generator, voxel_m: float = 1.0) -> Tensor:
    """Rows of ``count`` points drawn without replacement, in order."""
    labels = points.labels.cpu().numpy()
    voxels = np.floor(points.points.cpu().numpy() / voxel_m).astype(np.int64)
    _, place, crowd = np.unique(voxels, axis=0, return_inverse=True, return_counts=True)
    rarity = 1 / np.sqrt(np.bincount(labels)[labels] * crowd[place.reshape(-1)])
    keys = rng.exponential(size=len(labels)) / rarity  # the smallest keys are a weighted sample without replacement
    chosen = np.sort(np.argpartition(keys, count)[:count])
    return torch.as_tensor(chosen, device=points.labels.device)


def pose_arrays(poses: list[Rigid3d]) -> tuple[Array, Array]:
    """(N, 4) quaternions and (N, 3) centres of poses."""
    qvec = np.array([pose.qvec for pose in poses]).reshape(-1, 4)
    return qvec, np.array([pose.center() for pose in poses]).reshape(-1, 3)
