"""Find a model's files: in a directory of the user, or on a hub, at one commit.

Which commit a hub's model is at now is asked once, when a dump is planned; `plan.json` keeps the
answer, and the jobs read the files from there. Nothing is asked for but the files that make up the
model.
"""

from __future__ import annotations

import abc
import errno
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from cfia.errors import UserError
from cfia.installation import what_to_install

# Names of the large files.
WEIGHTS = ("*.safetensors", "*.bin", "*.pt")

# The variables by which a client that asks hubs is told of proxies and certificates.
_OF_CLIENT = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")

_log = logging.getLogger(__name__)


class Source(abc.ABC):
    """A place that files of one model come from.

    Attributes:
        model: hub id or directory, as the user gave it.
        revision: the commit on Hugging Face. None for a directory, and for ModelScope, whose
            directories are named by branch.
    """

    revision: str | None = None

    def __init__(self, model: str) -> None:
        self.model = model

    @abc.abstractmethod
    def fetch(self, patterns: Sequence[str]) -> Path:
        """Fetch the files whose names match one of the shell's patterns; return their directory."""

    @abc.abstractmethod
    def names(self) -> list[str]:
        """List the names of all files."""

    @abc.abstractmethod
    def explain(self, error: Exception) -> UserError:
        """Word an exception of `fetch` for the user."""


class Directory(Source):
    """A local directory: nothing is fetched."""

    def fetch(self, patterns: Sequence[str]) -> Path:
        """Return the directory itself."""
        return Path(self.model)

    def names(self) -> list[str]:
        """List the names of its files."""
        return sorted(path.name for path in Path(self.model).iterdir() if path.is_file())

    def explain(self, error: Exception) -> UserError:
        """Word an exception of the file system."""
        return UserError(f"{self.model} cannot be read ({first_line(error)}); correct that")


class HuggingFace(Source):
    """A model on the Hugging Face hub, or in its client's cache if the hub is out of reach."""

    def __init__(self, model: str, revision: str | None = None) -> None:
        super().__init__(model)
        self.revision = revision
        self._directory: Path | None = None
        self._said = False
        self._no_client: str | None = None  # why none can be made; not known yet
        # Read when the package is imported. Its telemetry is a header of each request, and a
        # request of its own for a list of tools that it looks for on the machine.
        os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
        for name in ("httpx", "httpx2"):  # a line for each request
            logging.getLogger(name).setLevel(logging.WARNING)

    def fetch(self, patterns: Sequence[str]) -> Path:
        """Fetch from one commit: `main` at the first call, the same at all others."""
        _check_variables()
        from huggingface_hub import snapshot_download

        if self._no_client is None:
            self._no_client = _why_no_client()
            if self._no_client:
                _log.warning("%s: no hub is asked, but its cache (%s)", self.model, self._no_client)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a full disk, which `explain` tells
            self._show(self._directory)
            directory = Path(
                snapshot_download(
                    self.model,
                    revision=self.revision,
                    allow_patterns=list(patterns),
                    ignore_patterns=["*/*"],
                    local_files_only=bool(self._no_client),
                )
            )
        self._directory, self.revision = directory, directory.name
        return directory

    def _show(self, directory: Path | None) -> None:
        """Say that weights are downloaded, where the settings are here and the weights are not."""
        from huggingface_hub.utils.tqdm import disable_progress_bars, enable_progress_bars

        # It says "Retrying in 8s" for minutes; the error at the end tells enough.
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
        disable_progress_bars()
        if directory is None or any(any(directory.glob(pattern)) for pattern in WEIGHTS):
            return
        if sys.stderr.isatty():
            enable_progress_bars()
            # Of two bars that count bytes, leave the one that knows how many there are.
            disable_progress_bars("huggingface_hub.snapshot_download.transfer")
        if not self._said:
            _log.info(
                "%s: downloading commit %s from the Hugging Face hub to %s",
                self.model,
                directory.name[:8],
                directory.parents[2],
            )
            self._said = True

    def names(self) -> list[str]:
        """List the names of the files at this commit."""
        from huggingface_hub import HfApi

        return sorted(HfApi().list_repo_files(self.model, revision=self.revision))

    def explain(self, error: Exception) -> UserError:
        """Word an exception of the client for the user."""
        from huggingface_hub import constants, errors

        or_directory = "or download the model elsewhere and give its directory"
        # A class before those that it is derived from: a gated repository is one that is not found.
        reasons = {
            errors.GatedRepoError: "is gated: accept its terms on its page at the Hugging Face "
            f"hub, log in with `hf auth login`, and run the same command again, {or_directory}",
            errors.RepositoryNotFoundError: "is neither a directory nor a public model of the "
            "Hugging Face hub; check the name, or if it is private log in with `hf auth login`",
            errors.HFValidationError: "is neither a directory nor a model's id; check it",
        }
        for kind, reason in reasons.items():
            if isinstance(error, kind):
                return UserError(f"{self.model} {reason}")
        if isinstance(error, errors.RevisionNotFoundError):
            return UserError(
                f"the Hugging Face hub no longer has commit {self.revision} of {self.model}, which "
                "the dump was planned with; --force true takes the newest"
            )
        if _is_full(error):
            return _full_disk(self.model, constants.HF_HUB_CACHE, "HF_HOME")
        if isinstance(error, errors.LocalEntryNotFoundError):
            root = _causes(error)[-1]
            offline = isinstance(root, errors.OfflineModeIsEnabled)
            reason = "HF_HUB_OFFLINE is set" if offline else self._no_client or first_line(root)
            return UserError(
                f"the Hugging Face hub cannot be reached ({reason}), and its cache "
                f"{constants.HF_HUB_CACHE} has not all of {self.model}; run the same command where "
                f"there is a network, {or_directory}"
            )
        return _broken_off(self.model, "the Hugging Face hub", error)


def _check_variables() -> None:
    """Import the client, which reads numbers from the environment as it is imported.

    Raises:
        UserError: one of them is none.
    """
    try:
        import huggingface_hub.constants  # noqa: F401
    except ValueError as error:
        values = {name: value for name, value in os.environ.items() if name.startswith("HF_")}
        wrong = [f"{n}={v}" for n, v in values.items() if v and repr(v) in str(error)]
        raise UserError(
            f"the client of the Hugging Face hub does not take {' '.join(wrong) or 'a variable'} "
            f"of the environment ({first_line(error)}); correct or unset it"
        ) from None


def _why_no_client() -> str:
    """Say why the client cannot ask the hub, whatever is asked; "" if it can.

    It reads proxies and certificates from the environment when it is made (httpx2, which needs the
    package socksio for socks5://), and the hub's address when a request is.
    """
    from huggingface_hub import constants, get_session

    if not constants.ENDPOINT.startswith(("http://", "https://")):
        return f"HF_ENDPOINT is {constants.ENDPOINT!r}, which must begin with https://"
    try:
        get_session()
    except (ImportError, OSError, ValueError) as error:
        names = [name for name in os.environ if name.upper() in _OF_CLIENT]  # not their passwords
        return f"{first_line(error)}; see {' '.join(names) or 'the settings of proxies'}"
    return ""


class ModelScope(Source):
    """A model on ModelScope, which is not asked if its client's cache has the model.

    Args:
        model: its id.
        cached: take what the cache has, and ask nobody. That may be older than what the hub has,
            and lack a small file: ModelScope's cache keeps no list that would tell.
    """

    def __init__(self, model: str, *, cached: bool) -> None:
        super().__init__(model)
        self._cached = cached
        self._directory: Path | None = None
        # Unless told not to, the client asks an address of Alibaba's cloud whether it runs there.
        # The variable's name before 1.38 is the second.
        for name in ("MODELSCOPE_DOWNLOAD_INTRA_CLOUD", "INTRA_CLOUD_ACCELERATION"):
            os.environ[name] = "false"
        if not sys.stderr.isatty():
            os.environ["TQDM_DISABLE"] = "1"

    def fetch(self, patterns: Sequence[str]) -> Path:
        """Fetch into the client's cache."""
        try:
            from modelscope import snapshot_download  # type: ignore[import-untyped]
        except ImportError as error:
            raise UserError(
                f"--hub ms needs the package modelscope ({first_line(error)}); "
                f"{what_to_install(error)}, or download the model and give its directory"
            ) from None
        for name in ("modelscope", "modelscope_hub"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        if self._cached:
            return Path(snapshot_download(self.model, local_files_only=True))
        if self._directory is None:
            _log.info("%s: downloading from ModelScope what its cache has not", self.model)
        options = {"allow_patterns": list(patterns), "ignore_patterns": ["*/*"]}
        self._directory = Path(snapshot_download(self.model, **options))
        return self._directory

    def names(self) -> list[str]:
        """List the names of the files in the cache."""
        return [] if self._directory is None else Directory(str(self._directory)).names()

    def explain(self, error: Exception) -> UserError:
        """Word an exception of the client, whose versions share no base class of their errors."""
        if _is_full(error):
            return _full_disk(self.model, "of ModelScope", "MODELSCOPE_CACHE")
        response = getattr(error, "response", None)
        if getattr(response, "status_code", None) in (401, 403, 404):
            return UserError(
                f"{self.model} is neither a directory nor a public model of ModelScope; check the "
                "name (it has other ids than Hugging Face), or download the model and give its "
                "directory"
            )
        return _broken_off(self.model, "ModelScope", error)


def sources(model: str, hub: str, revision: str | None = None) -> list[Source]:
    """List the sources of a model, to be tried in order; the last one's error is the one to raise.

    Args:
        model: directory, or id on the hub.
        hub: "hf" is Hugging Face, "ms" is ModelScope.
        revision: the commit on Hugging Face; None is what `main` is now.

    Raises:
        UserError: there is no such directory.
    """
    if Path(model).is_dir():
        return [Directory(model)]
    # An id is `name` or `owner/name`; anything else was meant as a path.
    if model.startswith((".", "/", "~")) or model.count("/") > 1 or " " in model:
        raise UserError(f"no such model directory {model}; check the path")
    if hub == "ms":
        return [ModelScope(model, cached=True), ModelScope(model, cached=False)]
    return [HuggingFace(model, revision)]


def first_line(error: BaseException) -> str:
    """Take the first line of an error's message, without its full stop."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".: ") if lines else type(error).__name__


def _causes(error: BaseException | None) -> list[BaseException]:
    """List an error and its causes, those that ModelScope's client collects too, the root last."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        files = getattr(error, "failed_files", None) or {}
        error = next(iter(files.values()), None) or error.__cause__ or error.__context__
    return found


def _is_full(error: BaseException) -> bool:
    full = (errno.ENOSPC, errno.EDQUOT)
    return any(isinstance(e, OSError) and e.errno in full for e in _causes(error))


def _full_disk(model: str, cache: str, variable: str) -> UserError:
    return UserError(
        f"the disk is full, and the cache {cache} has no room for {model}; free some space, or set "
        f"{variable} to a directory elsewhere, and run the same command again"
    )


def _broken_off(model: str, hub: str, error: BaseException) -> UserError:
    reason = first_line(_causes(error)[-1])
    return UserError(
        f"{hub} did not give all of {model} ({reason}); run the same command again, or download "
        "the model elsewhere and give its directory"
    )
