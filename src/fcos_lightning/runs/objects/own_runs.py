"""Which runs this user began on this machine with packages of their own.

A run folder cannot trust packages by itself, since it may come from a stranger. Its user has said
it once, on the command line that began the run. That is remembered outside of the folder, beside a
random word that only this folder holds: another one in its place, or a copy elsewhere, is not it.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from pathlib import Path

from fcos_lightning.errors import UserError
from fcos_lightning.runs.ranks import is_first_process
from fcos_lightning.storage.caches import state_folder
from fcos_lightning.storage.replacing import write_whole
from fcos_lightning.storage.run_folder import RunFolder
from fcos_lightning.storage.small_files import read_small

_MOST_BYTES = 4096


def remember(run: RunFolder, packages: tuple[str, ...]) -> None:
    """Remember that the user trusts these packages in this run.

    Where nothing can be remembered, the command line has to say it again when the run goes on.

    Raises:
        UserError: if the word cannot be written into the run folder.
    """
    record = _record(run.path)
    if not packages or record is None or not is_first_process() or remembered(run) == packages:
        return
    word = secrets.token_hex(16)
    write_whole(f"{word}\n", run.own)
    kept = {"folder": str(run.path), "word": word, "packages": list(packages)}
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        write_whole(f"{json.dumps(kept)}\n", record)
    except (OSError, UserError):
        return


def remembered(run: RunFolder) -> tuple[str, ...]:
    """Return the packages that the user trusted in the run of this place; none if it is not it."""
    record = _record(run.path)
    if record is None or not record.is_file() or not run.own.is_file():
        return ()
    try:
        kept = json.loads(read_small(record, _MOST_BYTES))
        word = read_small(run.own, _MOST_BYTES).decode().strip()
        same = bool(word) and (kept["word"], kept["folder"]) == (word, str(run.path))
        return tuple(map(str, kept["packages"])) if same else ()
    except (UserError, ValueError, LookupError, TypeError, RecursionError):
        return ()


def _record(folder: Path) -> Path | None:
    """Where a run is remembered: under the name of its place, which may hold any character."""
    state = state_folder()
    name = hashlib.sha256(str(folder).encode(errors="surrogateescape")).hexdigest()[:32]
    return None if state is None else state / "own_runs" / f"{name}.json"
