"""LBR's package and what it needs. Open ranges here; `constraints.txt` pins what must fit together."""

from pathlib import Path

from setuptools import find_packages, setup

lines = Path("lbr/__init__.py").read_text().splitlines()
version = next(line.split('"')[1] for line in lines if line.startswith("__version__"))

REQUIRED = [
    "torch>=2.4", "torchvision", "segmentation-models-pytorch>=0.5,<1", "timm>=1.0", "kornia>=0.8",
    "numpy>=2.0,<3", "scipy>=1.11", "opencv-python-headless>=4.9", "pillow>=10", "pillow-heif>=0.18", "h5py>=3.10",
    "pycolmap>=4.2,<5", "poselib>=2.0.4", "pydantic>=2.7,<3", "pyyaml>=6", "tqdm>=4.66", "threadpoolctl>=3.2",
    "tensorboard>=2.15", "trimesh>=4.4", "embreex>=2.17",
]  # fmt: skip
EXTRAS = {
    "cluster": ["ray>=2.30"],
    "develop": ["pytest>=8", "pytest-xdist>=3.5", "hypothesis>=6.100", "ruff>=0.6", "mypy>=1.11", "types-PyYAML",
                "nbmake>=1.5", "ipykernel>=6", "faiss-cpu>=1.8", "psutil>=5.9"],
}  # fmt: skip

setup(
    name="lbr",
    version=version,
    description="Localization by recognition: camera poses of photographs in a mapped town",
    long_description=Path("README.md").read_text() if Path("README.md").is_file() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["lbr", "lbr.*"]),
    install_requires=REQUIRED,
    extras_require={**EXTRAS, "all": EXTRAS["develop"]},
    entry_points={"console_scripts": ["lbr = lbr.cli:main"]},
)
