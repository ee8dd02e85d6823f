"""Which text files of a folder are lists of queries, poses, priors or cameras, told by what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import SceneError
from core.geometry import NUM_CAMERA_PARAMS
from core.scene.image_names import leads_out
from core.scene.list_files import read_poses, read_queries
from core.scene.priors import read_priors

_FOLDERS = (".", "queries", "query_lists", "lists")
_MAX_FILES, _MAX_BYTES = 200, 64 << 20
_COLMAP_TEXT = {"cameras.txt", "images.txt", "points3D.txt", "rigs.txt", "frames.txt"}


@dataclass(frozen=True, slots=True, eq=False)
class SceneLists:
    """What was found, as paths relative to the folder; ``intrinsics`` is "" where queries bring their cameras."""

    queries: tuple[str, ...] = ()
    poses: tuple[str, ...] = ()
    priors: tuple[str, ...] = ()
    intrinsics: str = ""


def find_lists(folder: Path, images: Path, known: Iterable[str] = ()) -> SceneLists:
    """Find the lists of a folder and of its folders of lists.

    ``images``: the folder that names start from; ``known``: names of images of the map, or of all there are. A list counts
    where all of it can be read and it names images that are there or known. Of several that name the same images, the
    one whose own name says what it is counts, else the first by name; lists of different images are kept together.
    """
    files, known = _text_files(folder), set(known)
    queries = _disjoint(folder, files, "quer", read_queries)
    intrinsics, named = ("", {}) if queries else _named_queries(folder, files)
    queries = {path: names for path, names in (queries or named).items() if _fits(names, images, known)}
    wanted = {name for names in queries.values() for name in names} | known
    poses = {path: names for path, names in _disjoint(folder, files, "pose", read_poses).items() if wanted & names}
    priors = {path: names for path, names in _disjoint(folder, files, "prior", read_priors).items() if wanted & names}
    return SceneLists(tuple(queries), tuple(poses), tuple(priors), intrinsics if queries else "")


def _fits(names: set[str], images: Path, known: set[str]) -> bool:
    """Whether a list names images that are there; where not even the map's are, any names will do."""
    if names & known or any(not leads_out(name) and (images / name).is_file() for name in names):
        return True
    return not any((images / name).is_file() for name in known)


def _text_files(folder: Path) -> list[Path]:
    found = [
        file
        for place in _FOLDERS
        if (folder / place).is_dir()
        for file in sorted((folder / place).iterdir())
        if file.suffix == ".txt" and file.name not in _COLMAP_TEXT and file.is_file()
    ]
    return [file for file in found if 0 < file.stat().st_size <= _MAX_BYTES][:_MAX_FILES]


def _disjoint(folder: Path, files: list[Path], word: str, read: Callable[[Path], dict[str, Any]]) -> dict[str, set[str]]:
    """The files that ``read`` understands, those with ``word`` in their name first, and the images that they name."""
    found: dict[str, set[str]] = {}
    for file in sorted(files, key=lambda path: word not in path.name.lower()):
        names = _names(file, read)
        if names and not any(names & others for others in found.values()):
            found[file.relative_to(folder).as_posix()] = names
    return found


def _names(file: Path, read: Callable[[Path], dict[str, Any]]) -> set[str]:
    """The names in a list, none where the file is no such list or one of cameras alone."""
    try:
        names = set(read(file))
    except SceneError:
        return set()
    return names if all("." in name for name in names) else set()


def _named_queries(folder: Path, files: list[Path]) -> tuple[str, dict[str, set[str]]]:
    """A file of cameras by part of a name, and the lists of bare names that it completes."""
    for cameras in (file for file in files if "intrinsic" in file.name.lower()):
        try:
            known = read_queries(cameras)
        except SceneError:
            continue
        lists = [file for file in files if file != cameras and _is_list_of_names(file)]
        found = _disjoint(folder, lists, "quer", lambda path, known=known: read_queries(path, known))
        if found:
            return cameras.relative_to(folder).as_posix(), found
    return "", {}


def _is_list_of_names(file: Path) -> bool:
    """Whether the first entry is an image's name and nothing else."""
    with file.open(encoding="utf-8-sig", errors="replace") as lines:
        first = next((line.strip() for line in lines if line.strip() and not line.startswith("#")), "")
    return bool(first) and not any(token in NUM_CAMERA_PARAMS for token in first.split()) and len(first.split()) < 3
