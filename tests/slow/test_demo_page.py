"""The page of `cfia demo` in a real browser, served by the real program."""

from __future__ import annotations

import base64
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile
from PIL import Image

from cfia.inference.model import Prediction, load
from tests.signals import heed_signals
from tests.support import tiny_packs
from tests.support.browser import Browser, browser

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not shutil.which("chromedriver"),
        reason="needs a browser: apt-get install chromium chromium-driver",
    ),
]
RATE = 16000
TONE = 440  # Hz, of what the microphone hears
TAB, ENTER, SPACE = "\ue004", "\ue007", " "
ANSWERED = "!$('result').hidden || $('error').textContent"
# Of all texts that are seen, the smallest contrast with what is behind them (WCAG 2.2, 1.4.3).
CONTRAST = """(() => {
  const light = (c) => c.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const c = getComputedStyle(e).backgroundColor;
      if (c !== "rgba(0, 0, 0, 0)") return c;
    }
    return "rgb(255, 255, 255)";
  };
  const ratios = [...document.body.querySelectorAll("*")]
    .filter((e) => e.checkVisibility())
    .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
    .map((e) => [light(getComputedStyle(e).color), light(behind(e))])
    .map(([a, b]) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
  return Math.min(...ratios);
})()"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packs and recordings."""
    root = tmp_path_factory.mktemp("page")
    both = tiny_packs.write(root / "both", tiny_packs.FBANK, tiny_packs.bert(root / "bert"))
    (both / "README.md").write_text("# Card\n<img src=x onerror=\"document.title='broken'\">\n")
    tiny_packs.write(root / "audio", tiny_packs.FBANK)
    noise = np.random.default_rng(1).normal(0, 0.1, 20 * RATE)
    soundfile.write(root / "short.wav", noise[: 2 * RATE], RATE)
    soundfile.write(root / "long.wav", noise, RATE)
    times = np.arange(10 * 48000) / 48000
    soundfile.write(root / "tone.wav", 0.3 * np.sin(2 * np.pi * TONE * times), 48000)
    (root / "junk.wav").write_text("no sound at all")
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(root / "short.wav")]
    subprocess.run([*ffmpeg, str(root / "phone.webm")], check=True)
    return root


@contextmanager
def program(pack: Path, temporary: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Start `cfia demo`; give the address that it prints."""
    temporary.mkdir(exist_ok=True)
    running = subprocess.Popen(
        [sys.executable, "-m", "cfia", "demo", "--model", str(pack), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
        preexec_fn=heed_signals,
    )
    try:
        assert running.stdout is not None
        yield running.stdout.readline().strip(), running
    finally:
        running.kill()
        running.communicate()


@pytest.fixture(scope="module")
def window(root: Path) -> Iterator[Browser]:
    microphone = [
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={root / 'tone.wav'}",
    ]
    with browser(root / "profile", *microphone) as opened:
        opened.develop("Accessibility.enable", {})
        yield opened


def open_page(window: Browser, url: str) -> None:
    window.open(url)
    window.wait("about !== null")
    window.complaints()


def bars(window: Browser) -> dict[str, float]:
    """Read the bars as a screen reader does: from name to percent."""
    nodes = window.develop("Accessibility.getFullAXTree", {})["nodes"]
    meters = [node for node in nodes if node.get("role", {}).get("value") == "meter"]
    return {node["name"]["value"]: float(node["value"]["value"]) for node in meters}


def shows(window: Browser, own: Prediction) -> None:
    """Check that the page shows a prediction, in figures and in bars."""
    percent = {name: 100 * p for name, p in own.posteriors.items()}
    assert bars(window) == pytest.approx(percent, abs=0.051)
    widths = window.run(
        "[...document.querySelectorAll('.fill')].map((e) => "
        "(100 * e.getBoundingClientRect().width) / e.parentElement.getBoundingClientRect().width)"
    )
    assert widths == pytest.approx(list(percent.values()), abs=1)
    assert window.text("#result-heading") == f"{own.label}: {percent[own.label]:.1f} %"


def test_a_file_is_judged_and_the_page_is_fit_for_all(
    root: Path, window: Browser, tmp_path: Path
) -> None:
    model = load(root / "audio")
    with program(root / "audio", tmp_path / "tmp") as (url, running):
        open_page(window, url)
        assert not window.run("$('listens').hidden")
        assert window.run("$('reads').hidden")
        window.type("#file", str(root / "short.wav"))
        while window.run("document.activeElement.id") != "send":  # by keyboard alone
            window.press(TAB)
        window.press(ENTER)
        window.wait(ANSWERED)
        shows(window, model(root / "short.wav"))
        assert window.run("document.activeElement.id") == "result-heading"
        for width in (1000, 320):
            for scheme in ("light", "dark"):
                window.look(width, scheme)
                assert window.run("document.documentElement.scrollWidth") <= width
                assert window.run(CONTRAST) >= 4.5
                window.screenshot(tmp_path / "page.png")
                with Image.open(tmp_path / "page.png") as picture:
                    assert (np.asarray(picture.convert("L"))[2, 2] > 128) == (scheme == "light")
        assert window.complaints() == []  # nothing was blocked, and no script failed
        window.type("#file", str(root / "long.wav"))
        assert window.run("$('result').hidden")
        window.click("#send")
        window.wait(ANSWERED)
        shows(window, model(root / "long.wav"))
        assert window.run("document.querySelectorAll('#strips path').length") == 4
        assert window.run("document.querySelectorAll('#windows tr').length") == 1 + len(
            model(root / "long.wav").windows
        )
        window.click("#send")  # and at once
        running.send_signal(signal.SIGINT)
        began = time.monotonic()
        out, errors = running.communicate(timeout=60)
        assert time.monotonic() - began < 5
        assert (running.returncode, out) == (0, "")
        assert "Traceback" not in errors
        assert not list((tmp_path / "tmp").iterdir())
        window.wait("$('error').textContent")
        assert "does not answer" in window.text("#error")


def test_the_microphone_is_recorded_as_it_is(root: Path, window: Browser, tmp_path: Path) -> None:
    with program(root / "audio", tmp_path / "tmp") as (url, _):
        open_page(window, url)
        window.click("#record")
        window.wait("recording && recording.samples > 1.5 * recording.context.sampleRate")
        assert window.text("#record") == "Stop"
        assert window.text("#time") == "0:01"
        window.click("#record")
        window.wait("sound !== null")
        script = (
            "sound.arrayBuffer().then((b) => { let s = ''; "
            "new Uint8Array(b).forEach((c) => { s += String.fromCharCode(c); }); return btoa(s); })"
        )
        recorded = base64.b64decode(window.run(script))
        samples, rate = soundfile.read(io.BytesIO(recorded))
        assert samples.ndim == 1
        middle = samples[rate // 2 : rate // 2 + rate // 2]
        spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
        assert spectrum.argmax() * rate / len(middle) == pytest.approx(TONE, abs=4)
        assert window.run("$('player').duration") == pytest.approx(len(samples) / rate, abs=0.01)
        window.click("#send")
        window.wait(ANSWERED)
        (tmp_path / "recorded.wav").write_bytes(recorded)
        shows(window, load(root / "audio")(tmp_path / "recorded.wav"))
        assert window.complaints() == []


def test_words_faults_and_films(root: Path, window: Browser, tmp_path: Path) -> None:
    with program(root / "both", tmp_path / "tmp") as (url, _):
        open_page(window, url)
        model = load(root / "both")
        window.type("#file", str(root / "short.wav"))
        window.click("#send")
        window.wait(ANSWERED)
        assert window.text("#error") == "This model reads; type what is said."
        assert window.run("$('result').hidden")
        window.type("#text", "never")
        window.click("#send")
        window.wait(ANSWERED)
        shows(window, model(root / "short.wav", "never"))
        assert window.text("#error") == ""
        assert window.run("$('picture').naturalWidth") > 500  # the gates
        window.type("#file", str(root / "junk.wav"))
        window.click("#send")
        window.wait(ANSWERED)
        assert window.text("#error").startswith("The recording cannot be read (")
        window.type("#file", str(root / "phone.webm"))  # which the browser decodes
        window.click("#send")
        window.wait(ANSWERED)
        assert window.text("#error") == ""
        window.click("#card summary")
        assert "<img src=x onerror" in window.text("#card-text")
        assert window.run("document.title").startswith("Try a model")
