"""From a configuration file to a frozen `NightConfig`, and back; what is wrong is told in one sentence."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from daemon.config.model import CurveKeys, NightConfig
from daemon.system.errors import Refused
from drivers.backends import blaming, find_back_end
from drivers.errors import SettingRefused

DOCUMENTATION = "docs/configuration.md"
SURROUNDINGS = ("recorder.endpoint", "recorder.keys", "watch", "alerts", "report", "control")
"""What says who is reached and where, and nothing of what is exposed or kept: a night may go on with others."""
Model = TypeVar("Model", bound=BaseModel)


def load(path: Path, *, equip: bool = False) -> NightConfig:
    """Read a configuration; relative paths in it are relative to its folder.

    Parameters
    ----------
    path
        the file.
    equip
        whether `instrument.options` are read too, for which the back-end is imported: for whoever is going to use the
        microscope. They are then as in `freeze`, defaults written out and paths absolute.

    Raises
    ------
    Refused
        The file cannot be read, is not YAML, or holds a key or value that is not allowed; or there is no such back-end.
    """
    config = _read(path, NightConfig, "instrument: and scan:")
    return _equipped(config, path) if equip else config


def load_keys(path: Path) -> CurveKeys:
    """Read a file that names keys, of a recorder, a watcher or whoever steers; paths and errors as in `load`."""
    return _read(path, CurveKeys, "public: and secret:")


def _read(path: Path, model: type[Model], beginning: str) -> Model:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise Refused(f"the configuration {path} cannot be read ({error.strerror}); name another file") from error
    except UnicodeDecodeError as error:
        raise Refused(f"the configuration {path} is not UTF-8 at byte {error.start}; save it as UTF-8") from error
    try:
        content = yaml.load(text, Loader=_PlainLoader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise Refused(f"{path} is not YAML: {_yaml_complaint(error)}; correct it there") from error
    if not isinstance(content, dict):
        raise Refused(f"{path} holds {content!r} instead of keys; begin it with {beginning}")
    try:
        settings = model.model_validate(content)
    except ValidationError as error:
        raise Refused(f"{path}: {_sentence(error, content, model)}") from error
    anchored: Model = _anchored(settings, path.parent.resolve())
    return anchored


def _equipped(config: NightConfig, path: Path) -> NightConfig:
    instrument = config.instrument
    try:
        model = find_back_end(instrument.backend).options
    except SettingRefused as error:
        raise Refused(f"{path}: {error}") from error
    if model is None:
        if instrument.options:
            raise Refused(
                f"{path}: instrument.options is {_short(instrument.options)}, but the back-end {instrument.backend!r} "
                "takes none; remove it"
            )
        return config
    content = {"instrument": {"options": instrument.options}}
    try:
        with blaming(instrument.backend, "cannot read its options", passing=(Refused, KeyboardInterrupt)):
            options = _options(model, content, path)
    except SettingRefused as error:
        raise Refused(f"{path}: {error}") from error
    return config.model_copy(update={"instrument": instrument.model_copy(update={"options": options})})


def _options(model: type[BaseModel], content: dict[str, Any], path: Path) -> Any:
    """Read a back-end's options by its model, paths absolute."""
    # Wrapped, so that complaints name the whole key.
    inner = create_model("Options", options=(model, ...))
    whole = create_model("OptionsOfInstrument", instrument=(inner, ...))
    try:
        settings = whole.model_validate(content)
    except ValidationError as error:
        raise Refused(f"{path}: {_sentence(error, content, whole)}") from error
    return _anchored(settings, path.parent.resolve()).model_dump(mode="json")["instrument"]["options"]


def freeze(config: NightConfig, versions: Mapping[str, str] | None = None) -> str:
    """YAML text of a whole configuration, defaults written out and paths absolute; `load` reads it back.

    The versions of the software that the night is begun with stand above it as comments.
    """
    comments = "".join(f"# {name} {version}\n" for name, version in (versions or {}).items())
    return comments + yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)


def thaw(text: str) -> NightConfig | None:
    """Read back what `freeze` wrote; None where it is no configuration of a night of this version."""
    try:
        return NightConfig.model_validate(yaml.load(text, Loader=_PlainLoader))  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValidationError):
        return None


def differences(before: NightConfig, now: NightConfig) -> list[str]:
    """Dotted keys whose values are not the same in two configurations."""
    return [key for key, _, _ in changes("", before.model_dump(mode="json"), now.model_dump(mode="json"))]


def require_same(before: NightConfig, now: NightConfig, run: Path) -> list[str]:
    """Refuse to go on in the folder `run` with another configuration than the one it was begun with.

    Who is reached, and where, may be another: `SURROUNDINGS`. But a night that has a recorder of its own keeps it, and
    one that is recorded elsewhere gets none.

    Returns
    -------
    list of str
        Dotted keys of the surroundings that have changed.

    Raises
    ------
    Refused
        Some other key has changed; the sentence names the first one.
    """
    every = list(changes("", before.model_dump(mode="json"), now.model_dump(mode="json")))
    moved = (before.recorder.endpoint is None) != (now.recorder.endpoint is None)
    changed = [one for one in every if not _surrounds(one[0]) or (moved and one[0] == "recorder.endpoint")]
    if changed:
        key, old, new = changed[0]
        others = f" (and {len(changed) - 1} more keys changed)" if len(changed) > 1 else ""
        raise Refused(
            f"{key} is {new!r}, but the night in {run} was begun with {old!r}{others}; "
            "set it back to resume that night, or give --run a new folder"
        )
    return [key for key, _, _ in every]


def _surrounds(key: str) -> bool:
    return any(key == one or key.startswith(f"{one}.") for one in SURROUNDINGS)


class _PlainLoader(yaml.SafeLoader):
    """A safe loader without surprises.

    A key that stands twice is an error, and words such as On, no or 2026-11-23 are words: presets and classes have
    such names, and no setting is a truth value or a date.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if str(key) in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key} appears twice", key_node.start_mark)
            seen.add(str(key))
        return super().construct_mapping(node, deep)


_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] not in ("bool", "timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _yaml_complaint(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else str(problem)


def changes(key: str, before: Any, now: Any) -> Iterator[tuple[str, Any, Any]]:
    """Key, old and new value wherever two plain values differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in dict.fromkeys([*before, *now]):
            yield from changes(f"{key}.{name}" if key else name, before.get(name), now.get(name))
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for index, (one, other) in enumerate(zip(before, now, strict=True)):
            yield from changes(f"{key}[{index}]", one, other)
    elif before != now:
        yield key, before, now


def _anchored(value: Any, folder: Path) -> Any:
    """Return the same settings with every path absolute."""
    if isinstance(value, Path):
        return (folder / value).resolve()
    if isinstance(value, BaseModel):
        return value.model_copy(update={n: _anchored(getattr(value, n), folder) for n in type(value).model_fields})
    if isinstance(value, dict):
        return {name: _anchored(item, folder) for name, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_anchored(item, folder) for item in value)
    return value


def keys_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every dotted key below a settings model; `*` stands for a name the user chooses, `[]` for an item of a list."""
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        inner = [(found, suffix) for found, suffix in _models_in(field.annotation)]
        yield key, field
        for found, suffix in inner:
            yield from keys_of(found, f"{key}{suffix}.")


def _models_in(annotation: Any, suffix: str = "") -> Iterator[tuple[type[BaseModel], str]]:
    """Find the settings models that a type speaks of, each with what is appended to the key on the way."""
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, suffix
    elif origin is typing.Annotated:
        yield from _models_in(arguments[0], suffix)
    elif origin in (typing.Union, types.UnionType):
        for argument in arguments:
            yield from _models_in(argument, suffix)
    elif origin is tuple:
        yield from _models_in(arguments[0], f"{suffix}[]")
    elif origin is dict:
        yield from _models_in(arguments[1], f"{suffix}.*")


def _sentence(error: ValidationError, content: Mapping[str, Any], model: type[BaseModel]) -> str:
    """One sentence for the most telling of pydantic's complaints: an unknown key explains a missing one."""
    complaints = error.errors(include_url=False)
    first = next((c for c in complaints if c["type"] == "extra_forbidden"), complaints[0])
    key, general, value, present = _locate(first, content)
    others = len({_locate(c, content)[0] for c in complaints}) - 1
    more = f" ({others} more to correct)" if others else ""
    if first["type"] == "extra_forbidden":
        return f"{key} is not a key of the configuration (value {value!r}); {_instead(general, model)}{more}"
    if first["type"] == "missing" or not present:
        return f"{key} is missing; add it, {DOCUMENTATION} says what it means{more}"
    return f"{key} is {_short(value)}, but {_demand(first)}{more}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _locate(complaint: ErrorDetails, content: Any) -> tuple[str, str, Any, bool]:
    """Dotted key of a complaint, the same key in general form, its value, and whether it is there at all."""
    key, general, value, present = "", "", content, True
    for part in complaint["loc"]:
        if isinstance(part, int) and isinstance(value, list) and part < len(value):
            key, general, value = f"{key}[{part}]", f"{general}[]", value[part]
        elif isinstance(value, dict) and part in value:
            key, general, value = f"{key}.{part}", f"{general}.{part}", value[part]
        elif complaint["type"] == "missing":
            step = f"[{part}]" if isinstance(part, int) else f".{part}"
            key, general, present = f"{key}{step}", f"{general}{step}", False
    return key.lstrip("."), general.lstrip("."), value, present


def _instead(general: str, model: type[BaseModel]) -> str:
    """Remedy for an unknown key: the sibling it resembles, or the place where a key of this name belongs."""
    parent, _, name = general.rpartition(".")
    every = [known for known, _ in keys_of(model)]
    siblings = [known.rpartition(".")[2] for known in every if known.rpartition(".")[0] == parent]
    close = difflib.get_close_matches(name, siblings, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]}?"
    elsewhere = [known for known in every if known.rpartition(".")[2] == name]
    if elsewhere:
        return f"did you mean {elsewhere[0]}?"
    return f"remove it, or choose one of {', '.join(siblings)}" if siblings else "remove it"


def _demand(complaint: ErrorDetails) -> str:
    """Say what a value must be, from pydantic's complaint."""
    context = complaint.get("ctx", {})
    match complaint["type"]:
        case "value_error":
            return str(context["error"])
        case "literal_error":
            return f"it must be one of {context['expected']}; choose one"
        case "too_short" | "too_long":
            limit = "at least" if complaint["type"] == "too_short" else "at most"
            bound = context.get("min_length", context.get("max_length"))
            return f"it holds {context['actual_length']} items; give {limit} {bound}"
        case "path_type":
            return "it must be a path; write one, relative to this file"
        case "dict_type" | "model_type" | "model_attributes_type":
            return f"it must hold keys of its own; {DOCUMENTATION} lists them"
        case "tuple_type":
            return "it must be a list; write [ ] around its items"
        case _:
            return f"it must be {complaint['msg'].removeprefix('Input should be ')}; correct the value"
