"""Where the configuration of a run comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from fcos_lightning.errors import UserError
from fcos_lightning.printing import first_line
from fcos_lightning.runs.config.words import quoted, quoted_words
from fcos_lightning.runs.options.keys import check_keys, explained
from fcos_lightning.runs.refusals import refusal

#: The option that names a folder of the user's own YAML files, and the word that does.
_CONFIG_DIR = ("--config-dir", "-cd")
SEARCHED = "hydra.searchpath="


def config_dir() -> Path:
    """Return the folder ``conf/``: inside an installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parents[2]
    installed = package / "conf"
    return installed if installed.is_dir() else package.parents[1] / "conf"


@contextmanager
def composed(
    name: str, overrides: Sequence[str], own_dir: str | Path | None = None
) -> Iterator[DictConfig]:
    """Compose a configuration as a command does, and let it be the current one for a while.

    Args:
        name: of the command's file in ``conf/``.
        overrides: as on its command line.
        own_dir: a folder with further files, as ``--config-dir``.

    Raises:
        UserError: if it cannot be composed.
    """
    words = quoted_words(overrides)
    if own_dir is not None:
        words.append(_search_path(own_dir, f"config_dir={own_dir}"))
    hydra_config = HydraConfig.instance()
    before = hydra_config.cfg
    try:
        with hydra.initialize_config_dir(str(config_dir()), version_base="1.3"):
            try:
                config = hydra.compose(name, words, return_hydra_config=True)
            except HydraException as error:
                raise explained(error, config_dir(), name, words) from error
            except OmegaConfBaseException as error:
                raise UserError(f"configuration: {' '.join(str(error).split())}") from error
            except OSError as error:  # a choice that no file can be called
                raise (refusal(error) or error) from None
            hydra_config.set_config(config)
            with open_dict(config):
                del config["hydra"]
            check_keys(config, config_dir(), name)
            yield config
    except OmegaConfBaseException as error:
        raise UserError(f"configuration: {first_line(error)}") from error
    finally:
        hydra_config.cfg = before


def compose(config_name: str, words: Sequence[str]) -> dict[str, Any]:
    """Compose a configuration as a command would, and return its plain values.

    Args:
        config_name: of the command's file in ``conf/``.
        words: as on its command line.

    Raises:
        UserError: if it cannot be composed, or holds settings that do not exist.
    """
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(config_dir()), version_base="1.3"):
            config = hydra.compose(config_name, list(words))
            check_keys(config, config_dir(), config_name)
            content = OmegaConf.to_container(config, resolve=config_name == "sweep")
    except HydraException as error:
        raise explained(error, config_dir(), config_name, words) from error
    except OmegaConfBaseException as error:
        raise UserError(" ".join(str(error).split())) from error
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def _search_path(own_dir: str | Path, said: str) -> str:
    """Return the override that has Hydra look into a folder of the user's own, too.

    Args:
        own_dir: the folder.
        said: how it was given, for people.

    Raises:
        UserError: if there is none.
    """
    folder = Path(own_dir).expanduser().absolute()
    if not folder.is_dir():
        raise UserError(f"{said}: no such folder")
    return f"{SEARCHED}[{quoted('', f'file://{folder}')[1:]}]"


def own_files(words: Sequence[str]) -> list[str]:
    """Return words in which ``--config-dir`` is one that the jobs of a sweep can be given.

    Raises:
        UserError: if it names no folder.
    """
    rest: list[str] = []
    folder: str | None = None
    left = iter(words)
    for word in left:
        option, equals, value = word.partition("=")
        if option in _CONFIG_DIR:
            folder = value if equals else next(left, "")
        else:
            rest.append(word)
    if folder == "":
        raise UserError("--config-dir: name a folder with YAML files of yours behind it")
    return rest if folder is None else [_search_path(folder, f"--config-dir {folder}"), *rest]


def given_words() -> dict[str, str]:
    """Return what the command line, or ``train(...)``, gives: words by the key they are about."""
    if not HydraConfig.initialized():
        return {}
    words: Any = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    return {word.split("=", 1)[0].lstrip("+~"): word for word in words}
