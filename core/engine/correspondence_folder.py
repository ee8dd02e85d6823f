"""A folder of correspondence files with its images (PAPER 2.1), as the paper's data sets have it and as scenes are written.

ROOT/correspondence_data/*.mat (or correspondences/*.mat, or *.mat), ROOT/images/a/b/c.ext (or a/c.ext),
ROOT/<folder>_reference_feature_positions/a_c.h5, corr_train.txt and corr_val.txt in either: all but the files optional
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from core.engine.season_pairs import SeasonPair
from core.errors import SceneError
from core.geometry import Array
from core.records import Correspondences
from core.scene.colmap import condition_of
from core.scene.correspondences import (
    FOLDER,
    positions_name,
    read_correspondences,
    read_pair_names,
    read_reference_positions,
)
from core.scene.scene import SCENE_FILE

_FOLDERS = ("correspondence_data", FOLDER)
_LISTS = ("corr_train.txt", "corr_val.txt")
_POSITIONS = "_reference_feature_positions"
_ROLES = ("database", "query")  # second part of the names of the paper's first data set, whose first part is the slice


class CorrespondenceFolder:
    """The pairs of the .mat files of ``folder`` (a PairSource); ``path`` may also be one such file.

    Every file is opened once, for its keys and names. Raises SceneError: one sentence with the path, for a folder without
    files, a file that is cut off or lacks keys, and images that are not there.
    """

    def __init__(self, path: Path) -> None:
        path = Path(path)
        self.folder = path.parent if path.is_file() else path
        self.name, self.notes = str(path), ()
        files = [path] if path.is_file() else mat_files(path)
        if not files:
            raise SceneError(f"{path}: no correspondence files here, expected *.mat")
        self.pairs = tuple(SeasonPair(*read_pair_names(file), file) for file in files)
        self.images = _image_root(self.folder, self.pairs[0].reference)
        self._require_images()

    def path(self, image: str) -> Path:
        return self.images / image

    def condition(self, image: str) -> str:
        """The first part of a name; of a/database/c and a/query/c the second."""
        parts = image.split("/")
        return parts[1] if len(parts) > 2 and parts[1] in _ROLES else condition_of(image)

    def correspondences(self, pair: SeasonPair) -> Correspondences:
        return read_correspondences(pair.file)[2]

    def positions(self, reference: str) -> Array | None:
        file = self.folder.with_name(self.folder.name + _POSITIONS) / positions_name(reference)
        return read_reference_positions(file) if file.is_file() else None

    def parts(self) -> tuple[tuple[SeasonPair, ...], tuple[SeasonPair, ...]] | None:
        """What corr_train.txt and corr_val.txt name, each file once; None where there are none. Raises SceneError."""
        for folder in (self.folder, self.folder.parent):
            lists = [folder / name for name in _LISTS]
            if all(file.is_file() for file in lists):
                train, validation = (self._listed(file) for file in lists)
                return train, validation
        return None

    def _listed(self, file: Path) -> tuple[SeasonPair, ...]:
        wanted = {Path(line.strip()).name for line in file.read_text(encoding="utf-8").splitlines() if line.strip()}
        found = tuple(pair for pair in self.pairs if pair.file.name in wanted)
        if len({pair.file.name for pair in found}) < len(wanted):
            lost = sorted(wanted - {pair.file.name for pair in found})
            raise SceneError(f"{file}: names {len(lost)} files that are not in {self.folder} (the first: {lost[0]})")
        return found

    def _require_images(self) -> None:
        names = sorted({name for pair in self.pairs for name in (pair.reference, pair.other)})
        missing = [name for name in names if not self.path(name).is_file()]
        if missing:
            file = next(pair.file for pair in self.pairs if missing[0] in (pair.reference, pair.other))
            raise SceneError(
                f"{file}: {len(missing)} of {len(names)} images of {self.folder.name} are missing under {self.images} "
                f"(the first: {missing[0]})"
            )


def mat_files(folder: Path) -> list[Path]:
    """The correspondence files of a folder and those below it, sorted; hidden ones left out."""
    found = (file for file in Path(folder).rglob("*.mat") if file.is_file())
    return sorted(file for file in found if not any(part.startswith(".") for part in file.relative_to(folder).parts))


def find_correspondences(path: Path) -> list[Path]:
    """The folders of correspondence files that ``path`` stands for: itself, its known sub-folder, those of its sub-folders.

    A .mat file stands for itself. Empty when there are none.
    """
    path = Path(path)
    if path.is_file():
        return [path] if path.suffix.lower() == ".mat" else []
    if not path.is_dir():
        return []
    here = _of_root(path)
    roots = [] if here else sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    return here or [found for root in roots for found in _of_root(root)]


def _of_root(root: Path) -> list[Path]:
    is_scene = (root / SCENE_FILE).is_file()  # which may do without files, unlike a data set
    for folder in (root / name for name in _FOLDERS if (root / name).is_dir()):
        if mat_files(folder) or not is_scene:
            return [folder]
    return [root] if any(root.glob("*.mat")) else []


def _image_root(folder: Path, first: str) -> Path:
    """The images folder beside, in or one above the folder of files: the first that holds the image ``first``."""
    candidates: Sequence[Path] = (folder.parent / "images", folder / "images", folder.parent.parent / "images")
    holding = [root for root in candidates if (root / first).is_file()]
    return (holding or [root for root in candidates if root.is_dir()] or list(candidates))[0]
