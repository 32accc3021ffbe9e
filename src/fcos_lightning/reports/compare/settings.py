"""Settings that are not the same in all runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

#: Where a run writes and what it goes by: other in each run, and of no consequence.
_OF_THE_FOLDER = ("run_dir", "resume", "logger", "trusted_packages")


def differences(configs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the settings that differ, in the order of the first configuration.

    Args:
        configs: of the runs, as ``config.yaml`` has them.

    Returns:
        ``key`` and ``values``, a text for each run; None where a run does not have the setting.
    """
    flat = [dict(_leaves(_without_folder(config))) for config in configs]
    keys = list(dict.fromkeys(key for one in flat for key in one))
    rows = [{"key": key, "values": [one.get(key) for one in flat]} for key in keys]
    return [row for row in rows if len(set(row["values"])) > 1]


def _without_folder(config: Mapping[str, Any]) -> Any:  # noqa: ANN401  # plain values
    """Leave out what is of the run's own folder, and write paths below it alike."""
    place = str(config.get("run_dir") or "")
    kept = {key: value for key, value in config.items() if key not in _OF_THE_FOLDER}

    def below(tree: Any) -> Any:  # noqa: ANN401  # plain values
        if isinstance(tree, dict):
            return {key: below(value) for key, value in tree.items()}
        if isinstance(tree, list):
            return [below(value) for value in tree]
        is_text = isinstance(tree, str) and place
        if is_text and (tree == place or tree.startswith(f"{place}/")):
            return f"RUN{tree[len(place) :]}"
        return tree

    return below(kept)


def _leaves(tree: object, key: str = "") -> Iterator[tuple[str, str]]:
    """Settings by their keys as a command line gives them; a list of plain values is one."""
    nested = isinstance(tree, list) and any(isinstance(item, dict) for item in tree)
    if isinstance(tree, dict) and tree:
        for name, value in tree.items():
            yield from _leaves(value, f"{key}.{name}" if key else str(name))
    elif nested:
        assert isinstance(tree, list)
        for index, value in enumerate(tree):
            yield from _leaves(value, f"{key}.{index}")
    else:
        yield key, _shown(tree)


def _shown(value: object) -> str:
    """Return a value as a command line says it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
