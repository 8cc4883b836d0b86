#!/usr/bin/env python3
"""Find the Python environment that the project runs in, or make it: .venv in the root.

Prints, alone on stdout, the directory to put on PATH; messages and pip's output go to stderr.
setup.py lists what is needed, and requirements.txt pins what is installed. path.sh calls this
at every start, so a complete environment is found quickly: metadata is read, no package imported.
"""

# Up to the check of the version, this file runs with any Python from 3.6, so that it can say why
# it goes no further.
import argparse
import contextlib
import fcntl
import hashlib
import importlib
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

OLDEST = (3, 11)
ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
MARKER = VENV / ".installed"
LOCK = ROOT / ".venv.lock"
# Files that are not compiled, since no program of the project imports them.
NOT_COMPILED = r"[/\\](tests?|modelscope|pip)[/\\]"


def say(text: str) -> None:
    """Print one message on stderr."""
    print(f"install.py: {text}", file=sys.stderr, flush=True)


def find_python(*others: Path) -> str:
    """Find a Python on the path, not that of .venv, which can make environments; then `others`."""
    directories = [d for d in os.get_exec_path() if Path(d) != VENV_PYTHON.parent]
    names = ["python3", "python3.13", "python3.12", "python3.11"]
    pythons = [shutil.which(name, path=os.pathsep.join(directories)) for name in names]
    test = f"import sys, venv, ensurepip; sys.exit(sys.version_info < {OLDEST})"
    for python in [*filter(None, pythons), *map(str, others)]:
        with contextlib.suppress(OSError):
            if subprocess.run([python, "-c", test], stderr=subprocess.DEVNULL).returncode == 0:
                return python
    say(
        "this needs Python 3.11 or newer with its venv module, and no such python3 is on the path; "
        "install one (on Debian and Ubuntu, python3-venv too) and start again"
    )
    sys.exit(1)


if sys.version_info < OLDEST:
    newer = find_python(VENV_PYTHON)
    os.execv(newer, [newer, *sys.argv])

SETUP = runpy.run_path(str(ROOT / "setup.py"))
ALONE = SETUP["REQUIRES_ALONE"]  # installed without their dependencies (an old torch)
# A recipe needs what all extras bring.
NEEDS = sum(SETUP["EXTRAS"].values(), SETUP["REQUIRES"]) + ALONE
NEEDS_OF_TESTS = SETUP["REQUIRES_TEST"]


def digest() -> str:
    """Digest of everything that decides which packages .venv should hold."""
    pins = (ROOT / "requirements.txt").read_bytes()
    return hashlib.sha256(pins + "\n".join(ALONE).encode()).hexdigest()


def first_missing(requirements: list[str]) -> str:
    """Name the first requirement that this Python's packages do not meet, or ""."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for text in requirements:
        try:
            versions[text] = version(re.split("[^A-Za-z0-9._-]", text)[0])
        except PackageNotFoundError:
            return text
    try:
        parse = importlib.import_module("packaging.requirements").Requirement
    except ImportError:
        # An environment without it, such as one that is empty, has pip's own.
        parse = importlib.import_module("pip._vendor.packaging.requirements").Requirement
    for text, installed in versions.items():
        if not parse(text).specifier.contains(installed, prereleases=True):
            return f"{text} (it has {installed})"
    return ""


def venv_state() -> Any:
    """Get what --state prints with .venv's Python, or None if that does not run."""
    command = [str(VENV_PYTHON), "-I", __file__, "--state"]
    try:
        return json.loads(subprocess.check_output(command, stderr=subprocess.DEVNULL))
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None


def find_fault() -> tuple[str, bool] | None:
    """Find why .venv cannot be used as it is, and whether to make it anew; None if complete."""
    if not VENV.exists():
        return "is not there yet", True
    try:
        marker = json.loads(MARKER.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # pip takes a package that it was killed in for installed, so nothing of it can be kept.
        return "was not finished", True
    if marker["root"] != str(ROOT):
        # The programs in its bin/ name that directory in their first line.
        return f"was made in {marker['root']}", True
    state = venv_state()
    if state is None:
        return "has a Python that does not run", True
    if marker["python"] != state["python"]:
        return f"was made with Python {marker['python']}, not {state['python']}", True
    if marker["packages"] != digest():
        return "was made from other requirements", False
    return (f"lacks {state['lacks']}", False) if state["lacks"] else None


def announce(reason: str, anew: bool) -> None:
    """Say what is to be done to .venv, and what that takes."""
    cost = "about 2 minutes and 2 GB of disk, or 6 GB with a GPU's libraries"
    how = f"making it takes {cost}" if anew else "installing what is missing"
    say(f"the Python environment .venv {reason}; {how}")


def agree() -> None:
    """Ask whoever has sourced path.sh at a prompt before anything is downloaded."""
    print("install.py: do it now? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        say("not done; a recipe's ./run.sh does it unasked")
        sys.exit(1)


def make(anew: bool, lock: int) -> None:
    """Make .venv, or only install into it what it lacks; the marker comes last.

    Every process that is started holds the lock too: if this program is killed and leaves pip
    running, the next start waits for pip.
    """
    hidden = ("PYTHONPATH", "PYTHONHOME")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment.update(PIP_USER="0", PIP_NO_INPUT="1", PIP_DISABLE_PIP_VERSION_CHECK="1")

    def step(title: str, *command: str, optional: bool = False) -> None:
        say(title)
        # What it prints goes to stderr, since stdout is for the answer.
        code = subprocess.run(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=2, pass_fds=[lock]
        ).returncode
        if code != 0 and not optional:
            say(f"{title}: failed; see above")
            sys.exit(1)

    python = find_python() if anew else ""
    if anew and VENV.is_symlink():
        VENV.unlink()  # or the environment that it leads to would be emptied
    MARKER.unlink(missing_ok=True)
    pip = [str(VENV_PYTHON), "-I", "-m", "pip", "install"]
    if anew:
        step("making .venv", python, "-m", "venv", "--clear", str(VENV))
        # Later, on all processors: pip would compile on one, and every file.
        pip.append("--no-compile")
        # A pip of a year ago takes twice as long for what follows, but it would do.
        step("updating pip", *pip, "--upgrade", "pip", optional=True)
    # First what is small, since a fault of the package index then shows at once.
    if ALONE:
        step("installing " + ", ".join(ALONE), *pip, "--no-deps", *ALONE)
    step("installing requirements.txt", *pip, "-r", "requirements.txt")
    project = ["--no-deps", "--no-build-isolation", "--editable", "."]
    step("installing this project", *pip, *project)
    if anew:
        # For speed alone, and some packages hold files that do not compile.
        compile_all = ["-I", "-m", "compileall", "-qq", "-j", "0", "-x", NOT_COMPILED]
        step("compiling", str(VENV_PYTHON), *compile_all, str(VENV / "lib"), optional=True)
    state = venv_state()
    if state["lacks"]:
        say(f".venv still lacks {state['lacks']}; compare requirements.txt and setup.py")
        sys.exit(1)
    marker = {"root": str(ROOT), "python": state["python"], "packages": digest()}
    temporary = MARKER.with_suffix(".tmp")
    temporary.write_text(json.dumps(marker) + "\n", encoding="utf-8")
    temporary.replace(MARKER)
    say(".venv is complete")


def find_environment(with_tests: bool, asking: bool) -> Path:
    """Find the directory to put on PATH, after making the environment if need be."""
    here = Path(sys.executable).parent
    in_venv = Path(sys.prefix).resolve() == VENV.resolve()
    # Debian's own Python has no command named python, which the recipes call.
    complete = not in_venv and not first_missing(NEEDS + NEEDS_OF_TESTS * with_tests)
    if complete and (here / "python").exists():
        return here
    fault = find_fault()
    if fault:
        if asking:  # without the lock, for which others wait
            announce(*fault)
            agree()
        with open(LOCK, "a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("another start is making .venv; waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
            fault = find_fault()
            if fault:
                if not asking:
                    announce(*fault)
                make(fault[1], lock.fileno())
    return VENV_PYTHON.parent


def main() -> None:
    """Parse the command line and print the directory."""
    parser = argparse.ArgumentParser(prog="install.py", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--test", action="store_true", help="what is needed includes the tools of tests/run.sh"
    )
    parser.add_argument(
        "--ask", action="store_true", help="ask on the terminal before anything is installed"
    )
    parser.add_argument(
        "--state", action="store_true", help="only print this Python's version and what it lacks"
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    if options.state:
        version = "{}.{}".format(*sys.version_info)
        print(json.dumps({"python": version, "lacks": first_missing(NEEDS + NEEDS_OF_TESTS)}))
        return
    try:
        print(find_environment(options.test, options.ask))
    except KeyboardInterrupt:
        say("interrupted; the next start makes .venv from nothing")
        sys.exit(130)
    except OSError as error:
        say(f"cannot make .venv: {error.filename}: {error.strerror}")
        sys.exit(1)


if __name__ == "__main__":
    main()
