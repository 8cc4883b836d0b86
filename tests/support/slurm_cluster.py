"""A real Slurm on this machine for tests: two nodes with four processors and a GPU each.

From Debian's packages slurmctld, slurmd, slurm-client and munge, without systemd, as root or as a
plain user; the GPUs are device files of another kind. Everything is in a directory of its own and
on ports of its own, so that several may run side by side.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.signals import heed_signals

SLURM = Path(__file__).resolve().parents[2] / "utils" / "slurm.py"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")
MISSING = (
    "there is no Slurm to test against: as root, `apt-get install slurmctld slurmd slurm-client"
    " munge` brings one"
)
NODES = ("n1", "n2")

CONF = """\
ClusterName=cfia
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={home}/munge.socket,cred_expire=6
StateSaveLocation={home}/state
SlurmctldPidFile={home}/slurmctld.pid
SlurmctldLogFile={home}/slurmctld.log
SlurmdSpoolDir={home}/spool.%n
SlurmdPidFile={home}/slurmd.%n.pid
SlurmdLogFile={home}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=0,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=100
SlurmdTimeout=5
SlurmctldTimeout=5
MessageTimeout=5
KillWait=5
ReturnToService=2
EnforcePartLimits=ALL
SlurmdParameters=config_overrides
PropagateResourceLimits=NONE
MaxArraySize=100
GresTypes=gpu
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} {node}
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} {node}
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=60 State=UP PriorityTier=1
PartitionName=urgent Nodes=n1,n2 MaxTime=60 State=UP PriorityTier=2
"""
NODE = "CPUs=4 RealMemory=4000 Gres=gpu:1 State=UNKNOWN"
GRES = "NodeName=n1 Name=gpu File=/dev/null\nNodeName=n2 Name=gpu File=/dev/zero\n"


class Cluster:
    """Daemons of one Slurm, started and stopped by hand.

    Attributes:
        home: their directory; environment: what a client needs besides its own.
    """

    def __init__(self) -> None:
        # The names of sockets are short, and munged wants a directory that others may enter.
        self.home = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
        self.home.chmod(0o755)
        self.environment = {"SLURM_CONF": str(self.home / "slurm.conf"), "LC_ALL": "C"}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start all daemons, and wait until both nodes are idle."""
        (self.home / "state").mkdir()
        key = self.home / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        words = {
            "host": socket.gethostname().partition(".")[0],
            "ports": _free_ports(3),
            "user": subprocess.check_output(["id", "-un"], text=True).strip(),
            "home": self.home,
            "node": NODE,
        }
        (self.home / "slurm.conf").write_text(CONF.format(**words))
        (self.home / "gres.conf").write_text(GRES)
        self.start_munge()
        self.start_controller()
        for node in NODES:
            self.start_node(node)
        self.wait_for("both nodes are idle", lambda: self.nodes() == {"idle"})

    def start_munge(self) -> None:
        """Start the daemon that signs messages."""
        options = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log",
                   "seed-file": "seed"}  # fmt: skip
        files = [f"--{name}={self.home}/munge.{end}" for name, end in options.items()]
        self._start("munge", ["munged", "--foreground", *files])
        self.wait_for("munged listens", (self.home / "munge.socket").exists)

    def start_controller(self) -> None:
        """Start slurmctld; what was in its queue goes on."""
        self._start("controller", ["slurmctld", "-D"])

    def start_node(self, node: str) -> None:
        """Start a node's slurmd."""
        self._start(node, ["slurmd", "-D", "-N", node])

    def kill(self, name: str) -> None:
        """Kill a daemon at once: "munge", "controller", "n1" or "n2"."""
        daemon = self._daemons.pop(name)
        daemon.kill()
        daemon.wait()

    def stop_controller(self) -> None:
        """Have slurmctld write its queue down and end."""
        daemon = self._daemons.pop("controller")
        daemon.terminate()
        daemon.wait()

    def stop(self) -> None:
        """End all daemons and jobs, and remove the directory."""
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            self.client("scancel", "--me")
            self.wait_for("the queue is empty", lambda: not self.queue(), seconds=10)
        for name in reversed(list(self._daemons)):
            self.kill(name)
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.home, ignore_errors=True)

    def processes(self) -> list[int]:
        """List all processes that this Slurm has started: their environment names its file."""
        mark = f"SLURM_CONF={self.home}/slurm.conf".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (entry / "environ").read_bytes().split(b"\0")
                # A process of a test itself has the variable, too, but no job or daemon above it.
                if mark in words and int(entry.name) != os.getpid():
                    found.append(int(entry.name))
        return found

    def client(self, *command: str) -> str:
        """Run a client such as squeue; returns what it prints."""
        return subprocess.run(
            command, env={**os.environ, **self.environment}, check=True, text=True,
            capture_output=True, timeout=30,
        ).stdout  # fmt: skip

    def begin(self, cwd: Path, *arguments: str) -> subprocess.Popen[str]:
        """Start slurm.py; its messages are read from stderr."""
        return subprocess.Popen(
            [sys.executable, SLURM, *arguments], cwd=cwd, env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=heed_signals,
        )  # fmt: skip

    def run(self, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run slurm.py to its end."""
        with self.begin(cwd, *arguments) as process:
            try:
                out, err = process.communicate(timeout=300)
            finally:
                process.kill()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def nodes(self) -> set[str]:
        """Get the states of the nodes."""
        with contextlib.suppress(subprocess.SubprocessError):
            return set(self.client("sinfo", "-h", "-o", "%T").split())
        return set()

    def queue(self) -> list[tuple[str, str]]:
        """List the tasks that wait or run: their numbers and states."""
        lines = self.client("squeue", "-h", "-r", "-o", "%K|%T").splitlines()
        return [(number, state) for number, _, state in (line.partition("|") for line in lines)]

    def wait_for(self, what: str, truth: Callable[[], bool], seconds: float = 60) -> None:
        """Wait until `truth` holds; an error with the daemons' logs if it does not for long."""
        until = time.monotonic() + seconds
        while not truth():
            if time.monotonic() > until:
                logs = [f"{p.name}:\n{p.read_text()[-2000:]}" for p in self.home.glob("*.log")]
                raise TimeoutError(f"waited in vain until {what}\n" + "\n".join(logs))
            time.sleep(0.05)

    def _start(self, name: str, command: list[str]) -> None:
        env: Mapping[str, str] = {**os.environ, **self.environment}
        env = {**env, "PATH": f"{env['PATH']}:/usr/sbin:/sbin"}
        with open(self.home / f"{name}.out", "ab") as output:
            self._daemons[name] = subprocess.Popen(
                command, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True, preexec_fn=_die_with_parent,
            )  # fmt: skip


def _die_with_parent() -> None:
    """Have the kernel kill this process when the tests are killed."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def _free_ports(count: int) -> list[int]:
    """Find ports that nobody listens at now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def need_slurm() -> None:
    """Skip the tests where Slurm is not installed; in .ci/run, fail."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    if all(shutil.which(program, path=path) for program in PROGRAMS):
        return
    if os.environ.get("CFIA_NEEDS_SLURM") == "true":
        pytest.fail(MISSING)
    pytest.skip(MISSING)


@contextlib.contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Start a Slurm, and stop it whatever happens."""
    need_slurm()
    cluster = Cluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
