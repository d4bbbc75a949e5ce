import os
from pathlib import Path

import pytest
import yaml

from lbr.config import Config, dump_config, load_config
from lbr.errors import ConfigError
from lbr.localization.localizer import LocalizationSettings
from lbr.mapping.sfm import SfmSettings

MINIMAL = "dataset: {name: folder, root: data}\nworkspace: out\n"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def minimal(tmp_path: Path) -> Path:
    return write(tmp_path / "minimal.yaml", MINIMAL)


def test_a_file_changes_its_base_key_by_key(tmp_path: Path):
    write(tmp_path / "low" / "base.yaml", MINIMAL + "seed: 1\nextractor: {name: sift, max_keypoints: 7, sigma: 2}\n")
    write(tmp_path / "middle.yaml", "base: low/base.yaml\nextractor: {max_keypoints: 8}\nrun: middle\n")
    top = write(tmp_path / "top.yaml", "base: middle.yaml\nseed: 3\n")
    config = load_config(top, ["localization.pnp.max_error_px=3"])
    assert (config.seed, config.run, config.localization.pnp.max_error_px) == (3, "middle", 3)
    assert (config.extractor.max_keypoints, config.extractor.sigma) == (8, 2)


def test_the_command_line_has_the_last_word(minimal: Path):
    config = load_config(minimal, ["seed=1", "extractor.max_keypoints=5", "seed=2"])
    assert (config.seed, config.extractor.max_keypoints) == (2, 5)


def test_another_variant_starts_afresh(tmp_path: Path):
    """Keys of the old variant are not of the new one."""
    write(tmp_path / "base.yaml", MINIMAL + "extractor: {name: sift, sigma: 2, max_keypoints: 9}\n")
    config = load_config(write(tmp_path / "top.yaml", "base: base.yaml\nextractor: {name: disk}\n"))
    assert config.extractor.name == "disk" and config.extractor.max_keypoints == 2048
    assert load_config(tmp_path / "base.yaml", ["reconstruction.name=sfm"]).reconstruction == SfmSettings()


@pytest.mark.parametrize(
    "override, unknown, near",
    [
        ("extractor.max_keypoint", "extractor.max_keypoint", "max_keypoints"),
        ("localisation.pnp.max_error_px", "localisation", "localization"),
        ("localization.pnp.max_eror_px", "localization.pnp.max_eror_px", "max_error_px"),
        ("dataset.rooot", "dataset.rooot", "root"),
        ("sed", "sed", "seed"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(minimal: Path, override: str, unknown: str, near: str):
    with pytest.raises(ConfigError, match=f"unknown key '{unknown}'; did you mean '{near}'"):
        load_config(minimal, [f"{override}=3"])


def test_an_unknown_key_without_a_like_one_is_named_alone(minimal: Path):
    with pytest.raises(ConfigError, match="unknown key 'extractor.zzqq'$"):
        load_config(minimal, ["extractor.zzqq=3"])


def test_an_unknown_variant_names_the_known(minimal: Path):
    with pytest.raises(ConfigError, match="extractor.name: 'sitf' is unknown; known: .*'sift'.*'xfeat'"):
        load_config(minimal, ["extractor.name=sitf"])


@pytest.mark.parametrize(
    "override", ["seed=many", "extractor.max_keypoints=0", "localization.pnp.engine=opengv", "run=a b", "parallel=3"]
)
def test_a_wrong_value_is_named_with_its_key(minimal: Path, override: str):
    with pytest.raises(ConfigError, match=override.split("=")[0]) as error:
        load_config(minimal, [override])
    assert str(minimal) in str(error.value) and override.split("=")[1].split()[0] in str(error.value)


def test_several_faults_are_named_together(minimal: Path):
    with pytest.raises(ConfigError) as error:
        load_config(minimal, ["sed=1", "extractor.max_keypoints=-1"])
    assert len(str(error.value).splitlines()) == 2


def test_a_missing_section_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match="'workspace' is missing"):
        load_config(write(tmp_path / "c.yaml", "dataset: {name: folder, root: data}\n"))


@pytest.mark.parametrize(
    "text, value", [("1e-4", 1e-4), ("1E-4", 1e-4), (".5", 0.5), ("1.", 1.0), ("5e+2", 500.0), ("3", 3.0)]
)
def test_numbers_are_numbers(minimal: Path, tmp_path: Path, text: str, value: float):
    """YAML 1.1 reads 1e-4 as a string."""
    assert load_config(minimal, [f"localization.pnp.max_error_px={text}"]).localization.pnp.max_error_px == value
    nested = write(tmp_path / "n.yaml", f"base: minimal.yaml\nlocalization: {{pnp: {{max_error_px: {text}}}}}\n")
    assert load_config(nested).localization.pnp.max_error_px == value


@pytest.mark.parametrize("word", ["no", "on", "yes", "off", "No", "y"])
def test_words_are_words(minimal: Path, tmp_path: Path, word: str):
    """YAML 1.1 reads `no` as false."""
    assert load_config(minimal, [f"run={word}"]).run == word
    assert load_config(write(tmp_path / "n.yaml", f"base: minimal.yaml\nrun: {word}\n")).run == word


@pytest.mark.parametrize("word, value", [("true", True), ("false", False), ("no", False), ("yes", True)])
def test_words_still_switch_a_switch(minimal: Path, word: str, value: bool):
    assert load_config(minimal, [f"localization.refinement.enabled={word}"]).localization.refinement.enabled is value


def test_null_takes_a_default_away(minimal: Path):
    assert load_config(minimal, ["extractor.max_size=null"]).extractor.max_size is None
    assert load_config(minimal, ["dataset.queries=null"]).dataset.queries is None


def test_paths_start_at_the_file_that_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path / "low" / "base.yaml", MINIMAL)
    top = write(tmp_path / "high" / "top.yaml", "base: ../low/base.yaml\nworkspace: mine\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    config = load_config(top)
    assert config.dataset.root.resolve() == tmp_path / "low" / "data"
    assert config.workspace.resolve() == tmp_path / "high" / "mine"
    config = load_config(top, ["dataset.root=here", f"workspace={tmp_path}/there"])
    assert config.dataset.root.resolve() == tmp_path / "elsewhere" / "here"
    assert config.workspace == tmp_path / "there"


def test_home_is_understood(minimal: Path):
    assert load_config(minimal, ["workspace=~/out"]).workspace == Path.home() / "out"


def test_the_same_files_are_the_same_configuration_from_wherever_it_is_run(
    minimal: Path, monkeypatch: pytest.MonkeyPatch
):
    """Else an output is stale because somebody changed folders, and a map's `weights` are lost."""
    sections = "extractor: {name: xfeat, weights: x.pth}\npairs: {name: list, path: p}\n"
    absolute = load_config(write(minimal.parent / "w.yaml", f"base: minimal.yaml\n{sections}"))
    (minimal.parent / "sub").mkdir()
    for folder, path in ((minimal.parent, Path("w.yaml")), (minimal.parent / "sub", Path("../w.yaml"))):
        monkeypatch.chdir(folder)
        relative = load_config(path)
        for section in ("extractor", "pairs"):  # as the manifests keep them
            assert getattr(relative, section).model_dump(mode="json") == getattr(absolute, section).model_dump(
                mode="json"
            )


def test_a_circle_of_bases_is_said(tmp_path: Path):
    write(tmp_path / "a.yaml", "base: b.yaml\n")
    write(tmp_path / "b.yaml", "base: a.yaml\n")
    with pytest.raises(ConfigError, match="names itself as its base"):
        load_config(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    "text", ["dataset: [1, 2", "just words", "- a\n- b\n", "", "a: b: c", "\t- x", "base: [1, 2]", "base: 3", "\x00"]
)
def test_what_is_no_configuration_is_one_clear_line(tmp_path: Path, text: str):
    with pytest.raises(ConfigError) as error:
        load_config(write(tmp_path / "c.yaml", text))
    assert "c.yaml" in str(error.value) and "\n" not in str(error.value)


def test_a_section_that_is_there_twice_is_said(tmp_path: Path):
    """The second would take the place of the first without a word."""
    (tmp_path / "c.yaml").write_text(
        "dataset: {name: folder, root: a}\nworkspace: w\ndataset: {name: folder, root: b}\n"
    )
    with pytest.raises(ConfigError, match=r"c.yaml: not YAML: 'dataset' is there twice .* line 3"):
        load_config(tmp_path / "c.yaml")


def test_a_missing_file_and_a_missing_base(tmp_path: Path):
    for path in (tmp_path / "none.yaml", write(tmp_path / "c.yaml", "base: none.yaml\n")):
        with pytest.raises(ConfigError, match=r"none.yaml: no such configuration file"):
            load_config(path)


@pytest.mark.parametrize("override", ["seed", "=3", "a b=3", "seed=[1", "extractor..name=3"])
def test_a_malformed_override_is_said(minimal: Path, override: str):
    with pytest.raises(ConfigError) as error:
        load_config(minimal, [override])
    assert override in str(error.value)


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["extractor.name=aliked", "extractor.weights=w.pth", "localization.matcher={name: lightglue, min_score: 1e-4}"],
        [
            "pairs={name: list, path: p.txt}",
            "run=no",
            "dataset.model=null",
            "reconstruction={name: sfm, method: global}",
        ],
    ],
)
def test_the_printed_configuration_reads_back_as_the_same(minimal: Path, tmp_path: Path, overrides: list[str]):
    config = load_config(minimal, overrides)
    again = load_config(write(tmp_path / "other" / "resolved.yaml", dump_config(config)))
    assert again == config and isinstance(again, Config)


def test_it_reads_back_from_a_relative_path_too(minimal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(minimal.parent)
    config = load_config(Path("minimal.yaml"))
    again = load_config(write(tmp_path / "other" / "resolved.yaml", dump_config(config)))
    assert os.path.realpath(again.dataset.root) == os.path.realpath(config.dataset.root)


def test_values_do_not_change_after_the_check(minimal: Path):
    config = load_config(minimal)
    with pytest.raises(ValueError):
        config.seed = 4  # type: ignore[misc]


def test_the_shipped_configurations_are_good():
    folder = Path(__file__).parents[1] / "configs"
    assert load_config(folder / "folder.yaml").dataset.name == "folder"
    base = yaml.safe_load((folder / "base.yaml").read_text())
    assert "absolute" not in base and LocalizationSettings.model_validate(base["localization"])
