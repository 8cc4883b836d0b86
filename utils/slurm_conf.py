"""A site's conf/slurm.conf, in Kaldi's format: which options sbatch gets for those of a job."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

from job_command import Job, fail

PLACE = "conf/slurm.conf"
# What holds where the site's file does not say otherwise, line by line.
DEFAULTS = """\
command sbatch --export=ALL
option mem=* --mem-per-cpu=$0
option time=* --time=$0
option num_threads=* --cpus-per-task=$0
option gpu=* --gres=gpu:$0
option gpu=0
"""
OURS = ("config", "max_jobs_run", "jobs_per_gpu", "requeue")  # slurm.py's own; not sbatch's


@dataclasses.dataclass
class Conf:
    """What the lines of a file say.

    Attributes:
        command: the words of sbatch.
        options: for an option and its value, or "*" for any, words of sbatch, in which $0 stands
            for the value.
        defaults: options that every job has.
        source: the file, for messages.
    """

    command: list[str] = dataclasses.field(default_factory=list)
    options: dict[tuple[str, str], list[str]] = dataclasses.field(default_factory=dict)
    defaults: dict[str, str] = dataclasses.field(default_factory=dict)
    source: str = PLACE

    def read(self, text: str) -> None:
        """Take the lines of a file; later ones win. An error ends the program with exit code 1."""
        for number, line in enumerate(text.splitlines(), 1):
            try:
                words = shlex.split(line, comments=True)
            except ValueError as error:
                fail(f"{self.source}: line {number}: {str(error).lower()} in '{line}'", 1)
            name, equals, value = words[1].partition("=") if len(words) > 1 else ("", "", "")
            name = name.replace("-", "_")
            if len(words) > 1 and words[0] == "command":
                self.command = words[1:]
            elif equals and name and words[0] == "option":
                self.options[name, value] = words[2:]
            elif equals and name and words[0] == "default" and len(words) == 2:
                self.defaults[name] = value
            elif words:
                expected = "command ..., option name=value ..., or default name=value"
                fail(f"{self.source}: line {number} is '{line}'; expected {expected}", 1)

    def sbatch(self, job: Job) -> list[str]:
        """Build the command that submits a job; an unknown option ends the program with code 2."""
        words = list(self.command)
        for name, value in {**self.defaults, **job.options}.items():
            if name in OURS:
                continue
            found = self.options.get((name, value), self.options.get((name, "*")))
            if found is None:
                named = f"--{name} {value}"
                way = f"`option {name}=* ...` in {self.source} would say what sbatch gets for it"
                fail(f"unknown option {named}; try --help ({way})", 2)
            words += [word.replace("$0", value) for word in found]
        return words


def read_conf(job: Job) -> Conf:
    """Read the file that a job names, or conf/slurm.conf where it is; then what it leaves open."""
    path = Path(job.options.get("config", PLACE))
    conf = Conf(source=str(path))
    conf.read(DEFAULTS)
    if "config" in job.options or path.exists():
        try:
            conf.read(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            fail(f"cannot read {path}: {getattr(error, 'strerror', 'it is not UTF-8')}", 1)
    return conf
