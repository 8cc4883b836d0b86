"""What the hubs say of a repository and its files, as JSON."""

from __future__ import annotations

from pathlib import Path

from tests.hub.snapshot import Snapshot


def info(repo: str, snapshot: Snapshot, *, gated: bool) -> dict[str, object]:
    """What Hugging Face says of a model."""
    return {
        "id": repo,
        "modelId": repo,
        "sha": snapshot.sha,
        "private": False,
        "gated": "auto" if gated else False,
        "disabled": False,
        "tags": [],
        "siblings": [{"rfilename": path} for path in snapshot.files],
    }


def tree(snapshot: Snapshot) -> list[dict[str, object]]:
    """Hugging Face's recursive list of files."""
    found: list[dict[str, object]] = [
        {"type": "directory", "oid": snapshot.sha, "size": 0, "path": path}
        for path in snapshot.directories()
    ]
    for file in snapshot.files.values():
        entry: dict[str, object] = {
            "type": "file",
            "oid": file.oid,
            "size": file.size,
            "path": file.path,
        }
        if file.pointer_size:
            entry["lfs"] = {
                "oid": file.sha256,
                "size": file.size,
                "pointerSize": file.pointer_size,
            }
        found.append(entry)
    return found


def entries(snapshot: Snapshot, root: str = "") -> list[dict[str, object]]:
    """ModelScope's recursive list of files, of all or below the directory `root`."""
    below = root.strip("/") and f"{root.strip('/')}/"
    common = {"CommitId": snapshot.sha, "Revision": snapshot.sha, "CommittedDate": 1700000000}
    found: list[dict[str, object]] = [
        common | {"Type": "tree", "Path": path, "Name": Path(path).name, "Size": 0, "Sha256": ""}
        for path in snapshot.directories()
        if path.startswith(below)
    ]
    for file in snapshot.files.values():
        if not file.path.startswith(below):
            continue
        entry = {"Type": "blob", "Path": file.path, "Name": Path(file.path).name}
        large = {"Size": file.size, "Sha256": file.sha256, "IsLFS": file.pointer_size > 0}
        found.append(common | entry | large)
    return found
