"""Networks at work for the window: segmenters, labels of images and map points, how the labels behave."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.geometry import Array
from core.label_cache import keep_labels, kept_labels
from core.records import ImageData, LabelStatistics, PointLabels, Progress, Scene, SceneMap
from fgsn_viewer.bootstrap import Pipelines
from fgsn_viewer.cache_place import disk_cache
from fgsn_viewer.training_run import RUN
from fgsn_viewer.work_steps import Cache, Found, Steps, finished

_LABELS_VERSION = 1  # rises when the same network is made to give other labels


@dataclass(frozen=True, slots=True)
class NetworkInfo:
    """The network in use: its name in the menu, what it speaks, where and how it runs."""

    name: str
    vocabulary: str
    num_labels: int
    names: tuple[str, ...] | None = None
    device: str = "cpu"
    precision: str = "fast"


class Labelling:
    """Keeps segmenters, label maps and point labels that were made once."""

    def __init__(self, pipelines: Pipelines):
        self.pipelines = pipelines
        self.cache = disk_cache()
        self._labels = Cache(64)
        self._segmenters = Cache(2)
        self._point_labels = Cache(4)

    def segmenter(self, network: str | Path) -> Steps:
        """Return the segmenter of a network, loaded once; yields Found("network", NetworkInfo) when it is loaded."""
        known = self._segmenters.get(str(network))
        if known is None:
            yield Progress(f"loading the network {network_title(network)}")
            known = self._segmenters.put(str(network), (yield from finished(self.pipelines.load_segmenter(network))))
        yield Found("network", network_info(network, known))
        return known

    def labels_of(self, network: str | Path, image: ImageData, pixels: Array) -> Steps:
        """Return the LabelMap of an image (H, W, 3) u8, made once."""
        segmenter = yield from self.segmenter(network)
        key = (image.path, str(network))
        labels = self._labels.get(key)
        if labels is None:
            yield Progress(f"labelling {image.name}")
            labels = self._labels.put(key, (yield from self._kept_or_made(segmenter, image, pixels)))
        return labels

    def _kept_or_made(self, segmenter: Any, image: ImageData, pixels: Array) -> Steps:
        """The labels that were kept on disk, or new ones, which are kept then."""
        identity = network_identity(segmenter)
        content = image.path.read_bytes() if identity and image.path.is_file() else None
        labels = kept_labels(self.cache, identity, content) if content is not None else None
        if labels is None:
            steps = getattr(segmenter, "segment_steps", None)
            labels = yield from finished((steps or segmenter.segment)(pixels, image.path))
            labels = keep_labels(self.cache, identity, content, labels) if content is not None else labels
        return labels

    def of_points(self, scene: Scene, vocabulary: str) -> PointLabels | None:
        """The labels of the map's points in a vocabulary, read once, or None where the map has none."""
        labels = None if scene.map is None else scene.map.labels
        if scene.map is None or (labels is not None and labels.vocabulary == vocabulary):
            return labels
        known = self._point_labels.get((scene, vocabulary))
        if known is None:
            found = None if scene.map_path is None else self.pipelines.load_labels(scene.map_path, vocabulary)
            fits = found is not None and len(found.labels) == len(scene.map.points3D)  # it may have been built anew since
            known = self._point_labels.put((scene, vocabulary), (found if fits else None,))
        return known[0]

    def label_points(self, scene: Scene, network: str | Path) -> Steps:
        """Label the map's points by their images; kept for this session. Return the PointLabels."""
        segmenter = yield from self.segmenter(network)
        labels = yield from finished(self.pipelines.label_points(scene.map, segmenter))
        self._point_labels.put((scene, segmenter.vocabulary), (labels,))
        return labels

    def map_for(self, scene: Scene, vocabulary: str) -> SceneMap:
        """The scene's map with its points' labels in a vocabulary, or with none."""
        labels = self.of_points(scene, vocabulary)
        return scene.map if labels is scene.map.labels else replace(scene.map, labels=labels)

    def statistics(self, network: str | Path) -> LabelStatistics | None:
        """How the network's labels behave, where that lies beside its weights."""
        path = dict(self.pipelines.available_weights()).get(str(network), Path(network))
        return self.pipelines.label_statistics(path)


def network_identity(segmenter: Any) -> str:
    """What changes with everything that changes a network's labels; "" for what only looks labels up."""
    compute, info = getattr(segmenter, "compute", None), getattr(segmenter, "info", None)
    if compute is None or not getattr(info, "sha256", ""):
        return ""
    return f"{_LABELS_VERSION} {info.sha256} {segmenter.vocabulary} {segmenter.num_labels} {compute.device} {compute.precision}"


def network_info(network: str | Path, segmenter: Any) -> NetworkInfo:
    return NetworkInfo(
        name=network_title(network),
        vocabulary=segmenter.vocabulary,
        num_labels=segmenter.num_labels,
        names=segmenter.names,
        device=str(segmenter.device),
        precision=str(segmenter.precision),
    )


def network_title(network: str | Path) -> str:
    """What a network is called: its file's stem, and for a run's weights the scene that it was trained on and the run."""
    path = Path(network)
    if path.stem == "weights" and path.parent.name == RUN:
        return f"{path.parts[-4].rsplit('-', 1)[0]}, run {int(path.parts[-3])}"
    return path.stem
