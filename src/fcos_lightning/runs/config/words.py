"""Words of a command line that give paths and names, kept from Hydra's grammar.

To Hydra ``data.root=runs (1), b=2/007`` is a sweep, a dictionary or an error of its grammar; to a
person it is a folder. Which keys hold such text is known, so their values are quoted before Hydra
sees them.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import takewhile

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf

from fcos_lightning.data.stores.addresses import refuse_secrets
from fcos_lightning.errors import UserError
from fcos_lightning.printing import printable
from fcos_lightning.runs.config.opaque import opaque_text

#: Settings that may be addresses of object storage.
_ADDRESSES = ("data.root", "out")

#: Keys whose value is a path.
_PATHS = {
    *("ckpt", "source", "out", "thresholds", "run_dir", "resume", "init_from", "data.root"),
    *("model.backbone.weights", "trainer.default_root_dir", "sweep.dir", "sweep.resume"),
}
#: Those of them that are read, and so have to be there.
_PATHS_READ = {"ckpt", "source", "thresholds", "resume", "init_from", "data.root", "sweep.resume"}
#: What such keys of callbacks and loggers end in.
_PATH_ENDINGS = (".folder", ".dirpath", ".save_dir")
#: Keys whose value is a name that lies in a path, or an address.
_NAMES = {"name", "data.images", "data.annotations", "data.train_split", "data.val_split"}
_NAME_ENDINGS = (".tracking_uri",)

#: Options of Hydra's that are followed by a value.
VALUED = {
    *("--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp", "--cfg", "-c"),
    *("--package", "-p", "--experimental-rerun"),
}
#: The one that may be.
_INFO = ("--info", "-i")
#: Those that stand alone.
_ALONE = {
    *("--help", "--help-all", "-h", "--hydra-help", "--version", "--resolve", "--run", "-r"),
    *("--multirun", "-m", "--shell-completion", "-sc"),
}

#: The name of a setting or a group, with what may stand before it.
_KEY = re.compile(r"[+~]{0,2}[A-Za-z_][\w./@-]*", re.ASCII)
#: What Hydra takes as it stands; words that are numbers or of YAML are not among it.
_AS_IS = re.compile(r"[A-Za-z_./][A-Za-z0-9_./-]*", re.ASCII)
_MEANING = {"true", "false", "null", "nan", "inf"}
#: Where each of these begins, the value says something of Hydra's.
_PYTHONIC = ("choice(", "glob(", "range(", "interval(", "shuffle(", "sort(", "tag(", "str(")


def quoted_words(words: Iterable[str], swept: bool = False) -> list[str]:
    """Quote the words of a command line that give paths, wherever Hydra would read more in them.

    A path that begins with ``~`` is the user's, which no shell looks up behind ``data.root=``.

    Args:
        words: as the shell gave them.
        swept: whether a comma separates values, as behind ``-m``.

    Raises:
        UserError: if an address among them carries a password, which would be written down.
    """
    words = list(words)
    for word in words:
        key, _, value = word.lstrip("+~").partition("=")
        if key in _ADDRESSES:
            refuse_secrets(value, key)
    return [_quoted_word(word, swept) for word in words]


def options_first(words: Iterable[str]) -> list[str]:
    """Return a command line with its options before its overrides, between which argparse stops.

    Raises:
        UserError: if it has an option that there is not, as ``--lr=0.1``.
    """
    options: list[str] = []
    overrides: list[str] = []
    for word in words:
        if options and options[-1] in VALUED:
            options.append(word)
        elif word.startswith("-"):
            if word.partition("=")[0] not in {*VALUED, *_INFO, *_ALONE}:
                as_setting = word.lstrip("-") if "=" in word else f"{word.lstrip('-')}=VALUE"
                raise UserError(
                    f"{printable(word)}: there is no such option; settings are given without "
                    f"dashes, as {printable(as_setting)}"
                )
            options.append(word)
        elif options and options[-1] in _INFO and "=" not in word:
            options[-1] = f"--info={word}"
        else:
            overrides.append(word)
    return [*("--info=all" if one in _INFO else one for one in options), *overrides]


def plain_words(words: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the words of a command line that are files or folders, and all others.

    Raises:
        UserError: if the shell took a setting apart at its spaces.
    """
    words = list(words)
    _refuse_spaces(words)
    words = options_first(words)
    plain: list[str] = []
    rest: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        # A path that is there is one, also with an equals sign in its name, as of a sweep.
        may_be = not word.startswith("-") and before not in VALUED
        is_path = may_be and ("=" not in word or os.path.exists(word))
        (plain if is_path else rest).append(word)
    return plain, rest


def refuse_bare(words: Iterable[str], keys: Container[str]) -> None:
    """Refuse words that are neither options nor settings, as files without their keys.

    Args:
        words: of a command line.
        keys: of the command's settings.

    Raises:
        UserError: with the words to say instead.
    """
    words = list(words)
    bare = [word for word in plain_words(words)[0] if "=" not in word and word[:1] != "~"]
    if not bare:
        return
    _refuse_unclear(words)
    instead = []
    for word in bare:
        weights = word.endswith((".ckpt", ".pth", ".pt", ".safetensors", ".onnx", ".xml"))
        fitting = ("ckpt", "init_from") if weights else ("source", "runs", "data.root", "ckpt")
        key = next((key for key in fitting if key in keys), "KEY")
        instead.append(f"{key}={word}")
    raise UserError(
        f"{printable(bare[0])}: settings are given with their names; say "
        f"{printable(' '.join(instead))}"
    )


def _refuse_spaces(words: Sequence[str]) -> None:
    """Refuse a setting that a shell took apart at its spaces: ``KEY = VALUE``, ``KEY=a b``.

    Raises:
        UserError: with the word to say instead.
    """
    for before, word, after in zip(["", *words], words, [*words[1:], ""], strict=False):
        is_value = bool(after) and not after.startswith("-") and "=" not in after
        if word.startswith("=") and _KEY.fullmatch(before):
            joined = shlex.quote(before + word + (after if word == "=" and is_value else ""))
        elif word.endswith("=") and _KEY.fullmatch(word[:-1]) and is_value:
            joined = shlex.quote(word + after)
        else:
            continue
        raise UserError(f"no spaces around =: {joined}", whole=(joined,))
    for at, word in enumerate(words):
        if word.partition("=")[0].lstrip("+") in _PATHS_READ:
            for there in filter(_leads_somewhere, _with_next(words, at)):
                raise UserError(f"quote it: {shlex.quote(there)}", whole=(shlex.quote(there),))


def _refuse_unclear(words: Sequence[str]) -> None:
    """Refuse words behind a path that is not there, where they may be its end, or may be not.

    Raises:
        UserError: with both that may be meant.
    """
    for at, word in enumerate(words):
        read = word.partition("=")[0].lstrip("+") in _PATHS_READ and "=" in word
        rows = _with_next(words, at) if read and not _leads_somewhere(word) else []
        if rows:
            bare = printable(words[at + 1])
            raise UserError(
                f"{printable(word)}: is not there, and {bare} has no name; if they are one path, "
                f"quote it: {printable(shlex.quote(rows[0]))}; if not, say KEY={bare}"
            )


def _with_next(words: Sequence[str], at: int) -> list[str]:
    """Return a word with those behind it that have no name, most of them first."""
    bare = list(takewhile(lambda one: "=" not in one and one[:1] not in "-~", words[at + 1 :]))
    return [" ".join([words[at], *bare[:count]]) for count in range(len(bare), 0, -1)]


def _leads_somewhere(word: str) -> bool:
    return os.path.exists(os.path.expanduser(word.partition("=")[2]))


def as_list(key: str, paths: Iterable[str]) -> str:
    """Return the override that gives ``key`` a list of paths."""
    return f"{key}=[{','.join(quoted('', os.path.expanduser(path))[1:] for path in paths)}]"


def quoted(key: str, value: str) -> str:
    """Return the override that gives ``key`` this very string, also one with ``${`` in it."""
    # In Hydra's quoted strings a backslash means itself unless it stands before a quote.
    escaped = re.sub(
        r"(\\*)('|\Z)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), opaque_text(value)
    )
    return f"{key}='{escaped}'"


def valued(key: str, value: object) -> str:
    """Return the override that gives ``key`` this plain value or tree, and no other."""
    return f"{key}={_spelt(value)}"


def _spelt(value: object) -> str:
    if isinstance(value, Mapping):
        # Of keys, Hydra's grammar quotes none.
        keys = [re.sub(r"([\\()\[\]{}:=, \t])", r"\\\1", str(key)) for key in value]
        pairs = zip(keys, map(_spelt, value.values()), strict=True)
        return f"{{{','.join(f'{key}:{inner}' for key, inner in pairs)}}}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_spelt, value))}]"
    if isinstance(value, str):
        return quoted("", value)[1:]
    return "null" if value is None else str(value).lower()


def text_of(word: str) -> str:
    """Return the value that a word gives a path, without quotes and with what it looks up."""
    value = word.partition("=")[2]
    try:
        read = OverridesParser.create().parse_override(_quoted_word(word, swept=False)).value()
        return str(OmegaConf.create({"value": read}).value) if read is not None else value
    except Exception:  # of Hydra, OmegaConf or a resolver: the command itself says what is wrong
        return value


def _quoted_word(word: str, swept: bool) -> str:
    key, equals, value = word.partition("=")
    name = key.lstrip("+")
    is_path = name in _PATHS or name.endswith(_PATH_ENDINGS)
    is_name = name in _NAMES or name.endswith(_NAME_ENDINGS)
    if not equals or name.startswith(("-", "~", "hydra")) or not (is_path or is_name):
        return word
    if value in ("", "null"):
        return word
    several = swept and ("," in value or value.startswith(_PYTHONIC))
    if is_path and not several:
        value = value if os.path.lexists(value) else os.path.expanduser(value)
    if os.path.lexists(value):
        return _kept(key, value)
    if "${" in value or _is_quoted(value):
        return word
    if several:
        return f"{key}={_swept(value)}"
    return _kept(key, value)


def _kept(key: str, value: str) -> str:
    plain = _AS_IS.fullmatch(value) and value.lower() not in _MEANING and not _is_number(value)
    return f"{key}={value}" if plain else quoted(key, value)


def _swept(value: str) -> str:
    """Quote each of several paths; what says more than that stays as it stands."""
    if value.startswith(_PYTHONIC) or any(sign in value for sign in "'\"[]{}()"):
        return value
    parts = (os.path.expanduser(part.strip()) for part in value.split(","))
    return ",".join(_kept("", part)[1:] for part in parts)


def _is_quoted(value: str) -> bool:
    """Tell whether somebody quoted a value for Hydra, as ``'a, b'`` and not ``'a' and 'b'``."""
    if len(value) < 2 or value[0] not in "'\"":
        return False
    try:
        read = OverridesParser.create().parse_override(f"key={value}").value()
    except HydraException:
        return False
    return isinstance(read, str)


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
