"""The house rules: imports one way, heavy libraries in few places, nothing dangerous, pieces of readable size."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import lbr

ROOT = Path(lbr.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}

FREE = {"errors", "settings", ""}  # imported by all; '' is the package itself, for its version
MIDDLE = {
    "datasets",
    "recognition",
    "features",
    "matching",
    "retrieval",
    "mapping",
    "evaluation",
    "town",
    "stylization",
}
# part -> the parts it may import, beside itself and FREE
LOW = {"geometry", "types", "io"}
ALLOWED: dict[str, set[str]] = {
    "": set(),
    "errors": set(),
    "settings": set(),
    "geometry": set(),
    "types": {"geometry"},
    "io": {"geometry", "types"},
    "networks": {"parallel"},
    "parallel": set(),
    **{part: LOW | {"networks", "parallel"} for part in MIDDLE},
    "town": LOW | {"parallel"},
}
ALLOWED["learning"] = LOW | {"networks", "parallel", "features", "recognition", "stylization"}
ALLOWED["localization"] = LOW | {"networks", "parallel"} | MIDDLE - {"town", "stylization"}
ALLOWED["visualization"] = ALLOWED["localization"] | {"localization"}
ALLOWED["config"] = ALLOWED["visualization"] | {"visualization"} | MIDDLE
ALLOWED["pipeline"] = ALLOWED["config"] | {"config"}
ALLOWED["cli"] = ALLOWED["pipeline"] | {"pipeline"}
ALLOWED["__main__"] = {"cli"}

TORCH = {"torch", "torchvision", "kornia", "timm", "segmentation_models_pytorch"}
MAY_TORCH = {"networks", "recognition", "learning", "features", "matching"}
AT_TOP = {"recognition", "learning"}  # of a module, beside *_network.py


def part_of(path: Path) -> str:
    """lbr/io/colmap.py -> 'io'; lbr/__init__.py -> ''."""
    first = path.relative_to(ROOT).parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


def where(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT.parent)}:{node.lineno}"


def imports(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Every import, also inside functions and for type checking alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node, node.module or ""


def calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


def functions() -> Iterator[tuple[Path, ast.FunctionDef]]:
    for path, tree in TREES.items():
        yield from ((path, node) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_every_part_has_its_place():
    assert {part_of(path) for path in FILES} <= ALLOWED.keys()


def test_imports_go_one_way():
    wrong = []
    for path, tree in TREES.items():
        part = part_of(path)
        for node, name in imports(tree):
            names = name.split(".")
            if names[0] != "lbr":
                continue
            wanted = names[1] if len(names) > 1 else ""
            if wanted != part and wanted not in ALLOWED.get(part, set()) | FREE:
                wrong.append(f"{where(path, node)}: {part} imports {wanted}")
    assert wrong == []


def test_torch_is_imported_in_few_places_and_only_when_needed():
    wrong = []
    for path, tree in TREES.items():
        top = {id(node) for node in tree.body}
        for node, name in imports(tree):
            at_top = id(node) in top and part_of(path) not in AT_TOP and not path.stem.endswith("_network")
            if name.split(".")[0] in TORCH and (part_of(path) not in MAY_TORCH or at_top):
                wrong.append(f"{where(path, node)}: {name}")
    assert wrong == []


def test_pycolmap_is_imported_in_three_places():
    found = {path.relative_to(ROOT) for path, tree in TREES.items() if any(n == "pycolmap" for _, n in imports(tree))}
    assert {p.as_posix() for p in found if p.parts[0] != "mapping"} <= {"io/colmap.py", "localization/pnp.py"}


@pytest.mark.parametrize("name", ["eval", "exec", "print", "breakpoint", "input", "__import__"])
def test_what_a_library_does_not_call(name: str):
    allowed = {"cli"} if name == "print" else set()
    found = [
        where(p, node) for p, t in TREES.items() for node, n in calls(t) if n == name and part_of(p) not in allowed
    ]
    assert found == []


def test_nothing_is_pickled():
    wrong = []
    for path, tree in TREES.items():
        for node, name in calls(tree):
            options = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
            if (
                name.split(".")[0] in ("pickle", "dill", "joblib", "marshal", "shelve")
                or (name in ("np.load", "numpy.load") and options.get("allow_pickle") is not False)
                or (name in ("np.save", "np.savez") and options.get("allow_pickle") is True)
                or (name == "torch.load" and options.get("weights_only") is not True)
                or (name == "yaml.load" and "Loader" not in ast.unparse(node))
            ):
                wrong.append(f"{where(path, node)}: {name}")
    assert wrong == []


def test_pickle_itself_is_not_imported():
    found = [where(p, node) for p, t in TREES.items() for node, n in imports(t) if n == "pickle"]
    assert found == []


def test_no_bare_except_and_no_absolute_path():
    bare = [
        where(p, n) for p, t in TREES.items() for n in ast.walk(t) if isinstance(n, ast.ExceptHandler) and not n.type
    ]
    paths = [
        where(p, n)
        for p, t in TREES.items()
        for n in ast.walk(t)
        if isinstance(n, ast.Constant)
        and isinstance(n.value, str)
        and n.value.startswith(("/home/", "/work/", "/root/", "/mnt/", "/data/", "/Users/", "C:\\"))
    ]
    assert bare == [] and paths == []


def test_images_are_decoded_in_one_place():
    """The one imread."""
    reading = {"cv2.imread", "Image.open", "plt.imread", "imageio.imread", "PIL.Image.open"}
    found = {path.relative_to(ROOT).as_posix() for path, tree in TREES.items() for _, n in calls(tree) if n in reading}
    assert found <= {"io/images.py"}


def lines(node: ast.FunctionDef) -> int:
    """Lines of a function from its `def` on, its docstring included."""
    return node.end_lineno - node.lineno + 1


def test_functions_are_short_at_the_tail():
    sizes = [lines(node) for _, node in functions()]
    assert np.percentile(sizes, 90) <= 40
    longest = max(functions(), key=lambda item: lines(item[1]))
    assert lines(longest[1]) <= 80, where(*longest)


def test_functions_take_few_arguments():
    wrong = []
    for path, node in functions():
        a = node.args
        names = [arg.arg for arg in (*a.posonlyargs, *a.args, *a.kwonlyargs)]
        if len([name for name in names if name not in ("self", "cls")]) > 7:
            wrong.append(f"{where(path, node)}: {node.name}")
    assert wrong == []


def test_files_are_short():
    counts = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert [f"{path.relative_to(ROOT)}: {n}" for path, n in counts.items() if n > 400] == []


def test_every_public_function_and_module_is_documented():
    undocumented = [str(path.relative_to(ROOT)) for path, tree in TREES.items() if not ast.get_docstring(tree)]
    assert undocumented == []


def test_no_module_is_called_utils():
    assert not {path.stem for path in FILES} & {"utils", "util", "misc", "helper", "helpers", "common"}


def test_dependencies_of_the_lower_parts_are_light():
    """geometry and types are for any notebook: numpy and scipy."""
    for part in ("geometry", "types"):
        for path, tree in TREES.items():
            if part_of(path) == part:
                outside = {name.split(".")[0] for _, name in imports(tree)} - {"lbr", "numpy", "scipy"}
                assert outside <= {"__future__", "dataclasses", "collections", "enum", "typing"}, path
