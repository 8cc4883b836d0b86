#!/usr/bin/env python3
"""Find the Python environment that the project runs in, or make it: .venv in the root.

Prints, alone on stdout, the directory to put on PATH; messages go to stderr. What is needed are the
lists of setup.py; what is installed is what requirements.txt pins. path.sh calls this at every
start, so a complete environment is found quickly: metadata is read, and no package imported.
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
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

OLDEST = (3, 11)
ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
MARKER = VENV / ".installed"
LOG = ROOT / ".venv.log"
LOCK = ROOT / ".venv.lock"
# What no program of ours imports need not be compiled.
NOT_COMPILED = r"[/\\](tests?|modelscope|pip)[/\\]"


def say(text: str) -> None:
    """One message on stderr."""
    print(f"install.py: {text}", file=sys.stderr, flush=True)


def find_python(*others: Path) -> str:
    """A Python on the path, not that of .venv, which can make environments; then `others`."""
    directories = [d for d in os.get_exec_path() if Path(d) != VENV_PYTHON.parent]
    names = ["python3", "python3.13", "python3.12", "python3.11"]
    found = [shutil.which(name, path=os.pathsep.join(directories)) for name in names]
    test = f"import sys, venv, ensurepip; sys.exit(sys.version_info < {OLDEST})"
    for python in [*filter(None, found), *map(str, others)]:
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


class Needs(NamedTuple):
    """What setup.py and requirements.txt ask for."""

    requires: list[str]
    alone: list[str]
    test: list[str]
    pins: bytes

    @staticmethod
    def read() -> "Needs":
        """Read both files."""
        lists = runpy.run_path(str(ROOT / "setup.py"), run_name="lists")
        pins = (ROOT / "requirements.txt").read_bytes()
        return Needs(lists["REQUIRES"], lists["REQUIRES_ALONE"], lists["REQUIRES_TEST"], pins)

    def digest(self) -> str:
        """What stands for the packages that .venv should hold."""
        return hashlib.sha256(self.pins + "\n".join(self.alone).encode()).hexdigest()


def first_missing(requirements: list[str]) -> str:
    """The first requirement that this Python's packages do not meet, or ""."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for text in requirements:
        try:
            found[text] = version(re.split("[^A-Za-z0-9._-]", text)[0])
        except PackageNotFoundError:
            return text
    if not found:
        return ""
    try:
        parse = importlib.import_module("packaging.requirements").Requirement
    except ImportError:
        # Every environment with our packages has it; one that is empty still has pip's own.
        parse = importlib.import_module("pip._vendor.packaging.requirements").Requirement
    for text, installed in found.items():
        if not parse(text).specifier.contains(installed, prereleases=True):
            return f"{text} (it has {installed})"
    return ""


def in_venv() -> bool:
    """Is this Python that of .venv?"""
    return Path(sys.prefix).resolve() == VENV.resolve()


def own_state(needs: Needs) -> dict[str, str]:
    """Of this Python: its version, and the first thing that it lacks."""
    version = "{}.{}".format(*sys.version_info)
    return {"python": version, "lacks": first_missing(needs.requires + needs.alone + needs.test)}


def venv_state() -> Any:
    """`own_state` of .venv's Python, or None if it does not run."""
    command = [str(VENV_PYTHON), "-I", __file__, "--state"]
    try:
        return json.loads(subprocess.check_output(command, stderr=subprocess.DEVNULL))
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None


class Fault(NamedTuple):
    """Why .venv cannot be used as it is, and whether it must be made from nothing."""

    reason: str
    anew: bool


def find_fault(needs: Needs) -> Fault | None:
    """What is wrong with .venv, or None if it is complete."""
    if not VENV.exists():
        return Fault("is not there yet", anew=True)
    try:
        marker = json.loads(MARKER.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # pip takes a package that it was killed in for installed, so nothing of it can be kept.
        return Fault("was not finished", anew=True)
    if marker["root"] != str(ROOT):
        # The programs in its bin/ name that directory in their first line.
        return Fault(f"was made in {marker['root']}", anew=True)
    state = own_state(needs) if in_venv() else venv_state()
    if state is None:
        return Fault("has a Python that does not run", anew=True)
    if marker["python"] != state["python"]:
        return Fault(f"was made with Python {marker['python']}, not {state['python']}", anew=True)
    if marker["packages"] != needs.digest():
        return Fault("was made from other requirements", anew=False)
    if state["lacks"]:
        return Fault(f"lacks {state['lacks']}", anew=False)
    return None


@contextlib.contextmanager
def locked() -> Iterator[int]:
    """Hold the lock of .venv; its descriptor goes to what we start.

    So if this program is killed and leaves pip running, the next start waits for pip.
    """
    with open(LOCK, "a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another start is making .venv; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle.fileno()


def step(title: str, command: list[str], lock: int, *, optional: bool = False) -> None:
    """Run one command of the installation, its output in the log; end the program if it fails."""
    hidden = ("PYTHONPATH", "PYTHONHOME")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment.update(PIP_USER="0", PIP_NO_INPUT="1", PIP_DISABLE_PIP_VERSION_CHECK="1")
    with open(LOG, "ab") as log:
        log.write(os.fsencode(f"\n# {' '.join(command)}\n"))
        log.flush()
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=[lock],
        )
    try:
        watch(process, title)
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if process.returncode != 0 and not optional:
        say(f"{title}: failed; {LOG} has it all, and this is its end:")
        lines = LOG.read_text(encoding="utf-8", errors="replace").splitlines()
        print(*lines[-10:], sep="\n", file=sys.stderr)
        sys.exit(1)


def watch(process: "subprocess.Popen[bytes]", title: str) -> None:
    """Wait for a process; on a terminal, show that it lives."""
    began = time.monotonic()
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=1)
        ended = process.returncode is not None
        if sys.stderr.isatty():
            seconds = int(time.monotonic() - began)
            line = "" if ended else f"{title}, {seconds // 60}:{seconds % 60:02}"
            print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
        if ended:
            return


def make(needs: Needs, fault: Fault, lock: int) -> None:
    """Make .venv, or mend it; the marker comes last."""
    cost = "about 2 minutes and 2 GB of disk, or 6 GB with a GPU's libraries"
    how = f"making it takes {cost}" if fault.anew else "mending it"
    say(f"the Python environment .venv {fault.reason}; {how}")
    say(f"all output goes to {LOG}")
    LOG.unlink(missing_ok=True)
    python = find_python() if fault.anew else ""
    MARKER.unlink(missing_ok=True)
    if fault.anew:
        step("making .venv", [python, "-m", "venv", "--clear", str(VENV)], lock)
    pip = [str(VENV_PYTHON), "-I", "-m", "pip", "install", "--progress-bar=off"]
    if fault.anew:
        pip.append("--no-compile")
        # That of a year ago takes twice as long for what follows, but it would do.
        step("updating pip", [*pip, "--upgrade", "pip"], lock, optional=True)
    # First what is small, since a fault of the package index then shows at once.
    if needs.alone:
        step("installing " + ", ".join(needs.alone), [*pip, "--no-deps", *needs.alone], lock)
    step("installing requirements.txt", [*pip, "-r", "requirements.txt"], lock)
    project = ["--no-deps", "--no-build-isolation", "--editable", "."]
    step("installing this project", [*pip, *project], lock)
    if fault.anew:
        # pip would compile on one processor, and everything. Some packages hold files that do not
        # compile; it is for speed alone.
        compile_all = ["-I", "-m", "compileall", "-q", "-j", "0", "-x", NOT_COMPILED]
        step("compiling", [str(VENV_PYTHON), *compile_all, str(VENV / "lib")], lock, optional=True)
    finish(needs)


def finish(needs: Needs) -> None:
    """Look at what was installed, and write the marker."""
    state = venv_state()
    if state is None or state["lacks"]:
        lacks = state["lacks"] if state else "a Python that runs"
        say(f".venv still lacks {lacks} after the installation; compare requirements.txt, setup.py")
        sys.exit(1)
    marker = {"root": str(ROOT), "python": state["python"], "packages": needs.digest()}
    temporary = MARKER.with_suffix(".tmp")
    temporary.write_text(json.dumps(marker) + "\n", encoding="utf-8")
    temporary.replace(MARKER)


def environment(needs: Needs, *, with_tests: bool) -> Path:
    """The directory to put on PATH, after making the environment if need be."""
    here = Path(sys.executable).parent
    # Debian's own Python has no command named python, which the recipes call.
    if not in_venv() and (here / "python").exists():
        wanted = needs.requires + needs.alone + needs.test * with_tests
        if not first_missing(wanted):
            return here
    if find_fault(needs):
        with locked() as lock:
            fault = find_fault(needs)
            if fault:
                make(needs, fault, lock)
                say(".venv is complete")
    return VENV_PYTHON.parent


def main() -> None:
    """Parse the command line and print the directory."""
    parser = argparse.ArgumentParser(prog="install.py", description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--test", action="store_true", help="what is needed includes the tools of tests/run.sh"
    )
    parser.add_argument(
        "--state", action="store_true", help="only print this Python's version and what it lacks"
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    needs = Needs.read()
    if options.state:
        print(json.dumps(own_state(needs)))
        return
    try:
        print(environment(needs, with_tests=options.test))
    except KeyboardInterrupt:
        say("interrupted; the next start makes .venv from nothing")
        sys.exit(130)
    except OSError as error:
        say(f"cannot make .venv: {error.filename}: {error.strerror}")
        sys.exit(1)


if __name__ == "__main__":
    main()
