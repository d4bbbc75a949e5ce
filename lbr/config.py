"""The configuration: YAML files on a base, overridden on the command line, checked before anything runs."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, Field, ValidationError

from lbr.datasets import DatasetConfig
from lbr.errors import ConfigError
from lbr.evaluation import EvaluationSettings
from lbr.features import ExtractorConfig
from lbr.features.labelling import LabellingSettings
from lbr.features.sift import SiftSettings
from lbr.localization.localizer import LocalizationSettings
from lbr.mapping.georeferencing import GeoreferenceSettings
from lbr.mapping.instances import GivenInstances, InstancesConfig
from lbr.mapping.reconstruct import ReconstructionConfig
from lbr.mapping.triangulation import TriangulationSettings
from lbr.matching import MatcherConfig
from lbr.matching.nearest import NearestSettings
from lbr.parallel import ParallelSettings
from lbr.recognition.settings import RecognitionSettings
from lbr.retrieval.candidates import CandidatesConfig, ExhaustiveCandidates
from lbr.retrieval.index import IndexSettings
from lbr.retrieval.pairs import PairsConfig, PosePairs
from lbr.settings import ConfigPath, Located, Settings
from lbr.stylization.settings import StylizeSettings
from lbr.town.config import TownConfig


class Config(Settings):
    """Everything an experiment depends on. Sections are the settings of the modules that read them."""

    dataset: DatasetConfig
    workspace: ConfigPath
    run: str = Field(default="default", pattern=r"^[\w+-][\w.+-]*$")
    seed: int = 0
    recognition: RecognitionSettings = RecognitionSettings()
    index: IndexSettings = IndexSettings()
    labelling: LabellingSettings = LabellingSettings()
    extractor: ExtractorConfig = SiftSettings()
    pairs: PairsConfig = PosePairs()
    matcher: MatcherConfig = NearestSettings(ratio=0.85)
    reconstruction: ReconstructionConfig = TriangulationSettings()
    georeference: GeoreferenceSettings = GeoreferenceSettings()
    instances: InstancesConfig = GivenInstances()
    candidates: CandidatesConfig = ExhaustiveCandidates()
    localization: LocalizationSettings = LocalizationSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    parallel: ParallelSettings = ParallelSettings()
    town: TownConfig = TownConfig()
    stylization: StylizeSettings = StylizeSettings()


class _Loader(yaml.SafeLoader):
    """YAML as people mean it: 1e-4 is a number, `no` and `on` are words (YAML 1.2's core schema), and a section that is
    there twice is a mistake."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"'{key.value}' is there twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern) for tag, pattern in resolvers if tag not in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:float")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"
    ),
    list("-+0123456789."),
)


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file with its bases, apply `section.key=value` overrides, and check everything.

    Relative paths start at the folder of the file that names them, those of overrides at the working directory.
    Raises ConfigError with the place and the nearest known name.
    """
    tree = _read_tree(Path(path), ())
    for override in overrides:
        tree = _merge(tree, _parse_override(override))
    try:
        return Config.model_validate(_with_default_names(Config, tree))
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(e, path) for e in error.errors())) from None


def dump_config(config: BaseModel) -> str:
    """The resolved configuration as YAML."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def _read_tree(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(f"{path}: no such configuration file")
    if path.resolve() in seen:
        raise ConfigError(f"{path}: names itself as its base")
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # _Loader is a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: wanted sections (`dataset:`, ...), found {type(tree).__name__}")
    base = tree.pop("base", None)
    if base is not None and not isinstance(base, str):
        raise ConfigError(f"{path}: base: wanted the name of a file, not {base!r}")
    located = _locate(tree, path.resolve().parent)
    return located if base is None else _merge(_read_tree(path.parent / base, (*seen, path.resolve())), located)


def _parse_override(text: str) -> dict[str, Any]:
    key, separator, value = text.partition("=")
    if not separator or not re.fullmatch(r"\w+(\.\w+)*", key):
        raise ConfigError(f"'{text}': wanted section.key=value")
    try:
        leaf: Any = _locate(yaml.load(value, _Loader), Path.cwd())  # _Loader is a SafeLoader
    except yaml.YAMLError:
        raise ConfigError(f"'{text}': the value is not YAML") from None
    for part in reversed(key.split(".")):
        leaf = {part: leaf}
    return leaf


def _locate(value: Any, base: Path) -> Any:
    if isinstance(value, dict):
        return {str(k): _locate(v, base) for k, v in value.items()}
    if isinstance(value, list):
        return [_locate(v, base) for v in value]
    return Located(value, base) if isinstance(value, str) else value


def _merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """`change` on top of `base`; a section whose `name` changes starts afresh, as its keys are another variant's."""
    merged = dict(base)
    for key, value in change.items():
        old = base.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and value.get("name", old.get("name")) == old.get("name"):
            merged[key] = _merge(old, value)
        else:
            merged[key] = value
    return merged


def _with_default_names(model: type[BaseModel], tree: dict[str, Any]) -> dict[str, Any]:
    """Sections that have variants (`name`) and do not say which are of the default one."""
    filled = dict(tree)
    for key, field in model.model_fields.items():
        default, section = field.default, tree.get(key)
        if isinstance(section, dict) and isinstance(default, BaseModel):
            if "name" in type(default).model_fields:
                filled[key] = {"name": default.name, **section}  # type: ignore[attr-defined]  # checked the line above
            else:
                filled[key] = _with_default_names(type(default), section)
    return filled


def _explain(error: Mapping[str, Any], path: Path) -> str:
    # pydantic puts the variant's tag (sift, nearest) into the place: not a key of the file, so left out
    place = ".".join(str(part) for part in error["loc"] if str(part) not in _TAGS)
    if error["type"] == "extra_forbidden":
        key = str(error["loc"][-1])
        near = difflib.get_close_matches(key, _KNOWN_KEYS, 1)
        return f"{path}: unknown key '{place}'" + (f"; did you mean '{near[0]}'?" if near else "")
    if error["type"] == "union_tag_invalid":
        return f"{path}: {place}.name: {error['ctx']['tag']!r} is unknown; known: {error['ctx']['expected_tags']}"
    if error["type"] == "missing":
        return f"{path}: '{place}' is missing"
    return f"{path}: {place}: {error['msg'][0].lower()}{error['msg'][1:]}, not {error['input']!r}"


def _models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for field in model.model_fields.values():
        for part in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from _models(part)


_KNOWN_KEYS = sorted({key for model in _models(Config) for key in model.model_fields})
_TAGS = {
    str(model.model_fields["name"].default) for model in _models(Config) if "name" in model.model_fields
}  # fmt: skip
