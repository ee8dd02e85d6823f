"""Write a scene whose truth is known as Aachen Day-Night, to prove that it is read as it is."""

from __future__ import annotations

from pathlib import Path

from core.records import ImageData, Scene
from core.scene.list_files import write_queries
from core.world.layout_parts import FeaturesOf, copy_picture, map_features, query_entry, write_database, write_nvm

NIGHT = "night"


def aachen_names(scene: Scene) -> dict[str, str]:
    """The benchmark's name of each image: db/, query/night/ for the condition of that name and query/day/ for others."""
    names = {image.name: f"db/{k}.jpg" for k, image in enumerate(scene.map.images)}
    return names | {query.name: _query_name(k, query) for k, query in enumerate(scene.queries)}


def _query_name(k: int, query: ImageData) -> str:
    return f"query/{NIGHT if query.condition == NIGHT else 'day'}/nexus4/IMG_{k:06d}.jpg"


def write_aachen(scene: Scene, out: Path, intrinsics: bool = True, features: FeaturesOf | None = None) -> dict[str, str]:
    """Write the benchmark to ``out``; return the new name of each image.

    ``intrinsics`` writes database_intrinsics.txt, without which a reader has only what the NVM file says.
    """
    out, names = Path(out), aachen_names(scene)
    write_nvm(out / "3D-models" / "aachen_cvpr2018_db.nvm", scene.map, [names[image.name] for image in scene.map.images])
    if intrinsics:
        cameras = {names[image.name]: image.camera for image in scene.map.images}
        write_queries(out / "3D-models" / "database_intrinsics.txt", cameras)
    for part in ("day", NIGHT):
        cameras = {names[q.name]: q.camera for q in scene.queries if names[q.name].startswith(f"query/{part}/")}
        write_queries(out / "queries" / f"{part}_time_queries_with_intrinsics.txt", cameras)
    for image in (*scene.map.images, *scene.queries):
        copy_picture(image, out / "images_upright" / names[image.name])
    if scene.map.observations.descriptors is not None:
        entries = zip(scene.map.images, map_features(scene.map), strict=True)
        rows = [(names[image.name], image.camera, *own) for image, own in entries]
        rows += [query_entry(names[query.name], query, features) for query in scene.queries] if features else []
        write_database(out / "aachen.db", rows)
    return names
