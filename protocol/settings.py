"""How settings are layered, checked and explained. Pure: files and the environment are handed in.

A command's settings are one frozen model of groups, and a group is one frozen model of options.
An option has one name everywhere: `liveness.silence_seconds` is the key `silence_seconds` in the
table `[liveness]` of a settings file, and `SWARMBOARD_LIVENESS_SILENCE_SECONDS` in the environment.
"""

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar, cast

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from protocol.errors import InvalidSettings

PREFIX = "SWARMBOARD_"
DEFAULT = "default"
MASK = "***"
PROJECT_FILES = ("pyproject.toml", "swarmboard.toml")
"""Settings files of the current folder, weakest first."""

CREDENTIALS = re.compile(r"://(?P<user>[^:/@\s]*:)?[^/\s]*@")

GROUPS = (
    "nats",
    "redis",
    "data",
    "embedded",
    "liveness",
    "admission",
    "limits",
    "http",
    "retention",
    "breaker",
    "worker",
    "prices",
    "model",
    "log",
)
"""Groups of all commands together: one settings file serves them all, and a misspelt group is refused."""


class Group(BaseModel):
    """Base of a group of options. The docstring under an option is its description."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
        defer_build=True,
    )


class Groups(BaseModel):
    """Base of a command's settings: every field is a Group."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


AnyGroups = TypeVar("AnyGroups", bound=Groups)


@dataclass(frozen=True, slots=True)
class Layer:
    """Options by dotted name, as one source gave them. `source` is where a person would look for them."""

    source: str
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of `coordinator config`; secrets are masked."""

    name: str
    value: str
    source: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Loaded(Generic[AnyGroups]):
    """Checked settings, and for each option the source that it came from."""

    settings: AnyGroups
    sources: Mapping[str, str]

    def given(self, name: str) -> bool:
        """Whether somebody set the option, rather than its default or the embedded servers."""
        return self.sources[name] not in {DEFAULT, CONNECTION}

    def describe(self) -> Sequence[Row]:
        return [
            Row(
                name,
                shown(getattr(getattr(self.settings, group), option)),
                self.sources[name],
                field.description or "",
            )
            for name, group, option, field in options(type(self.settings))
        ]


CONNECTION = "embedded servers"
"""Source of what the running embedded servers' connection file says."""


def options(model: type[Groups]) -> Iterable[tuple[str, str, str, FieldInfo]]:
    """Every option: dotted name, group, name in the group, and its field."""
    for group, outer in model.model_fields.items():
        for option, field in cast("type[Group]", outer.annotation).model_fields.items():
            yield f"{group}.{option}", group, option, field


def environment_name(name: str) -> str:
    return PREFIX + name.replace(".", "_").upper()


def shown(value: object) -> str:
    """A value as a person may see it: secrets masked, also inside of URLs."""
    if isinstance(value, SecretStr):
        return MASK if value.get_secret_value() else ""
    if isinstance(value, dict):
        return ", ".join(cast("dict[str, object]", value))
    if isinstance(value, tuple):
        return ", ".join(str(part) for part in cast("tuple[object, ...]", value))
    if isinstance(value, bool):
        return str(value).lower()
    return mask_url(str(value)) if isinstance(value, str) else str(value)


def mask_url(value: str) -> str:
    """URLs with their passwords masked, and tokens that stand in a user's place; anything else as it is."""
    return CREDENTIALS.sub(lambda found: f"://{found['user'] or ''}{MASK}@", value)


def environment_layer(
    model: type[Groups], environ: Mapping[str, str], read: Callable[[Path], str | None]
) -> Layer:
    """Options from `SWARMBOARD_*`; an empty variable counts as unset.

    A secret may also come from the file that `<variable>_FILE` names, as orchestrators mount them.

    :raises InvalidSettings: for a variable that no command knows, or a file that is not there.
    """
    names = {environment_name(name): name for name, *_ in options(model)}
    files = {
        f"{environment_name(name)}_FILE": name
        for name, *_, field in options(model)
        if field.annotation is SecretStr
    }
    values: dict[str, object] = {}
    for variable, value in environ.items():
        if not variable.startswith(PREFIX) or not value:
            continue
        if variable in names:
            values[names[variable]] = value
        elif variable in files:
            values[files[variable]] = _secret(variable, Path(value), read)
        elif variable.removeprefix(PREFIX).split("_")[0].lower() not in _foreign_groups(model):
            raise InvalidSettings(variable, "no such setting in the environment", _suggest(variable, names))
    return Layer("environment", values)


def _secret(variable: str, path: Path, read: Callable[[Path], str | None]) -> str:
    text = read(path)
    if text is None:
        raise InvalidSettings(variable, f"there is no file {path}", "correct the path, or unset the variable")
    return text.strip()


def toml_layer(model: type[Groups], source: str, text: str) -> Layer:
    """Options from a settings file; of a pyproject.toml, those under `[tool.swarmboard]`.

    :raises InvalidSettings: for text that is not TOML, and for groups and options that no command knows.
    """
    try:
        tables: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidSettings(source, f"is not TOML: {error}", "correct the file") from error
    if source.endswith("pyproject.toml"):
        tables = tables.get("tool", {}).get("swarmboard", {})
    return Layer(source, dict(_table_values(model, source, tables)))


def _table_values(
    model: type[Groups], source: str, tables: Mapping[str, object]
) -> Iterable[tuple[str, object]]:
    names = {name for name, *_ in options(model)}
    for group, table in tables.items():
        if group in _foreign_groups(model):
            continue
        if group not in model.model_fields:
            raise InvalidSettings(
                f"[{group}] in {source}", "no such group of settings", _suggest(group, GROUPS)
            )
        if not isinstance(table, dict):
            raise InvalidSettings(
                f"{group} in {source}", "is not a table", f"write [{group}] above its options"
            )
        for option, value in cast("dict[str, object]", table).items():
            name = f"{group}.{option}"
            if name not in names:
                raise InvalidSettings(f"{name} in {source}", "no such setting", _suggest(name, names))
            yield name, value


def connection_layer(model: type[Groups], connection: Mapping[str, Any], stronger: Sequence[Layer]) -> Layer:
    """What a connection file says about servers, except those whose address a stronger layer gives:
    the credentials of one server must not be sent to another.
    """
    names = {name for name, *_ in options(model)}
    given = {name for layer in stronger for name in layer.values}
    values = {
        f"{group}.{option}": value
        for group in ("nats", "redis")
        for option, value in connection.get(group, {}).items()
        if f"{group}.{option}" in names and f"{group}.url" not in given
    }
    return Layer(CONNECTION, values)


def file_layers(
    model: type[Groups], folder: Path, environ: Mapping[str, str], read: Callable[[Path], str | None]
) -> Sequence[Layer]:
    """Layers of the settings files, strongest first: the project's in `folder`, then the user's."""
    user = Path(environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME", "~")) / ".config") / "swarmboard"
    paths = [*(folder / name for name in reversed(PROJECT_FILES)), user / "config.toml"]
    texts = [(path, read(path)) for path in paths]
    return [toml_layer(model, str(path), text) for path, text in texts if text is not None]


def default_data_folder(environ: Mapping[str, str]) -> Path:
    """`$XDG_DATA_HOME/swarmboard`, by default `~/.local/share/swarmboard`."""
    home = Path(environ.get("HOME", "~"))
    return Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "swarmboard"


def first_given(layers: Sequence[Layer], name: str) -> object:
    """The value of the strongest layer that gives the option, or None."""
    return next((layer.values[name] for layer in layers if name in layer.values), None)


def resolve(model: type[AnyGroups], layers: Sequence[Layer]) -> Loaded[AnyGroups]:
    """Lays the layers over the defaults, the strongest first, and checks the result.

    :raises InvalidSettings: naming the option, where its value came from, and what it may be.
    """
    values: dict[str, dict[str, object]] = {group: {} for group in model.model_fields}
    sources: dict[str, str] = {}
    for name, group, option, _ in options(model):
        layer = next((layer for layer in layers if name in layer.values), None)
        sources[name] = layer.source if layer else DEFAULT
        if layer:
            values[group][option] = layer.values[name]
    try:
        return Loaded(model.model_validate(values), sources)
    except ValidationError as error:
        defaults = {name: shown(field.default) for name, *_, field in options(model)}
        _refuse(error, sources, defaults)


def _refuse(error: ValidationError, sources: Mapping[str, str], defaults: Mapping[str, str]) -> NoReturn:
    first = error.errors(include_url=False, include_input=False)[0]
    name = ".".join(str(part) for part in first["loc"][:2])
    source = sources.get(name, DEFAULT)
    where = environment_name(name) if source == "environment" else source
    problem = first["msg"].removeprefix("Value error, ").replace("Input should", "should")
    if inner := ".".join(str(part) for part in first["loc"][2:]):
        problem = f"{inner}: {problem}"
    remedy = f"correct it, or remove it for the default of {defaults.get(name) or 'nothing'}"
    raise InvalidSettings(f"{name} (from {where})", problem, remedy) from None


def _foreign_groups(model: type[Groups]) -> frozenset[str]:
    return frozenset(GROUPS) - frozenset(model.model_fields)


def _suggest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]}?" if close else "remove it"
