"use strict";
// The page of `cfia demo`: record or choose a sound, ask the server, show what it says.

const $ = (id) => document.getElementById(id);
const percent = (p) => `${(100 * p).toFixed(1)} %`;
const size = (n) => (n < 1e6 ? `${Math.ceil(n / 1e3)} kB` : `${(n / 1e6).toFixed(1)} MB`);
const clock = (s) => `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, "0")}`;

const GONE = "The server does not answer; is cfia demo still running?";

let about = null; // what the server says of the model
let sound = null; // the Blob to send
let recording = null; // the open microphone

function element(tag, text = "", attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function fail(sentence) {
  $("status").textContent = "";
  $("error").textContent = sentence;
}

// --- What the model is

async function describe() {
  about = await (await fetch("about")).json();
  const listens = about.modalities.includes("audio");
  const reads = about.modalities.includes("text");
  const takes = listens && reads ? "listens and reads" : listens ? "listens" : "reads";
  const networks = about.networks > 1 ? `, the mean of ${about.networks} networks` : "";
  $("about").textContent =
    `${about.system}${networks}, trained on ${about.corpus}. It ${takes}, and chooses between ` +
    `${about.classes.join(", ")}.`;
  $("warning").textContent = about.warning;
  $("listens").hidden = !about.hears;
  $("reads").hidden = !reads;
  $("file-hint").textContent =
    `At most ${clock(about.seconds)} minutes and ${about.megabytes} MB: WAV, FLAC, MP3, Ogg; ` +
    "others if your browser can play them.";
  $("text-hint").textContent = about.text_hint;
  $("card").hidden = !about.card;
  $("card-text").textContent = about.card;
  if (!window.isSecureContext || !navigator.mediaDevices) {
    $("record").disabled = true;
    $("record-hint").textContent =
      "Browsers lend the microphone only to a page of the same computer; choose a file.";
  }
}

// --- Recording and choosing

// Mono samples in [-1, 1] as a WAV of 16 bits.
function wav(samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const letters = (at, word) => {
    [...word].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  };
  letters(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  letters(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  letters(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((x, i) => {
    view.setInt16(44 + 2 * i, Math.max(-32768, Math.min(32767, Math.round(32768 * x))), true);
  });
  return new Blob([view], { type: "audio/wav" });
}

function choose(blob, name) {
  sound = blob;
  fail("");
  $("result").hidden = true; // it is that of another
  $("chosen").hidden = false;
  $("chosen-name").textContent = `${name} (${size(blob.size)})`;
  URL.revokeObjectURL($("player").src);
  $("player").hidden = false;
  $("player").src = URL.createObjectURL(blob);
}

async function start() {
  // As it sounds: what makes speech clearer takes emotion away.
  const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const wanted = { audio: { channelCount: 1, ...plain } };
  const context = new AudioContext();
  await context.audioWorklet.addModule("recorder.js");
  const stream = await navigator.mediaDevices.getUserMedia(wanted).catch((error) => {
    context.close();
    throw error;
  });
  const mono = { channelCount: 1, channelCountMode: "explicit" };
  const node = new AudioWorkletNode(context, "recorder", mono);
  recording = { stream, context, blocks: [], samples: 0 };
  node.port.onmessage = ({ data }) => {
    if (!recording) return;
    recording.blocks.push(data);
    recording.samples += data.length;
    const seconds = recording.samples / context.sampleRate;
    $("time").textContent = clock(seconds);
    if (seconds >= about.seconds - 1) stop();
  };
  context.createMediaStreamSource(stream).connect(node).connect(context.destination);
  $("chosen").hidden = $("result").hidden = true;
  $("record").classList.add("recording");
  $("record-label").textContent = "Stop";
  $("send").disabled = true;
}

function stop() {
  const { stream, context, blocks, samples } = recording;
  recording = null;
  stream.getTracks().forEach((track) => track.stop());
  $("record").classList.remove("recording");
  $("record-label").textContent = "Record again";
  $("send").disabled = false;
  const all = new Float32Array(samples);
  let at = 0;
  for (const block of blocks) {
    all.set(block, at);
    at += block.length;
  }
  const seconds = (samples / context.sampleRate).toFixed(1);
  $("file").value = "";
  choose(wav(all, context.sampleRate), `Your recording, ${seconds} s`);
  context.close();
}

async function toggle() {
  fail("");
  if (recording) {
    stop();
    return;
  }
  $("record").disabled = true; // until the microphone is there
  try {
    await start();
  } catch (error) {
    const denied = error.name === "NotAllowedError" || error.name === "SecurityError";
    fail(
      denied
        ? "The browser does not lend the microphone to this page; allow it beside the address, " +
          "or choose a file."
        : "There is no microphone that could be used; plug one in, or choose a file.",
    );
  }
  $("record").disabled = false;
}

// What libsndfile does not read, the browser may.
async function readable(blob) {
  const begin = new Uint8Array(await blob.slice(0, 12).arrayBuffer());
  const text = String.fromCharCode(...begin);
  const film = text.startsWith("\x1aE\xdf\xa3") || text.slice(4, 8) === "ftyp";
  if (!film) return blob; // neither WebM nor MP4: the server says whether it can read it
  const decoder = new OfflineAudioContext(1, 1, 48000);
  const decoded = await decoder.decodeAudioData(await blob.arrayBuffer()).catch(() => null);
  if (!decoded) throw new Error("Your browser cannot read this file; convert it to WAV.");
  const mono = new Float32Array(decoded.length);
  for (let c = 0; c < decoded.numberOfChannels; c += 1) {
    decoded.getChannelData(c).forEach((x, i) => { mono[i] += x / decoded.numberOfChannels; });
  }
  return wav(mono, decoded.sampleRate);
}

// --- Asking

async function ask(event) {
  event.preventDefault();
  fail("");
  $("result").hidden = true;
  $("send").disabled = true;
  $("status").textContent = "The model is at work …";
  try {
    show(await answer());
  } catch (error) {
    fail(error instanceof TypeError ? GONE : error.message);
  }
  $("send").disabled = false;
}

async function answer() {
  const text = new TextEncoder().encode($("text").value);
  const audio = sound ? await readable(sound) : new Blob();
  if (audio.size > 1e6 * about.megabytes) {
    throw new Error(`The recording is larger than ${about.megabytes} MB; send a part of it.`);
  }
  const response = await fetch("predict", {
    method: "POST",
    headers: { "X-Text-Bytes": String(text.length), "Content-Type": "application/octet-stream" },
    body: new Blob([text, audio]),
  });
  if (response.status === 503) throw new Error("Too many ask at once; try it again in a moment.");
  const said = await response.json();
  if (!response.ok) throw new Error(said.error[0].toUpperCase() + said.error.slice(1) + ".");
  return said;
}

// --- Showing

function show(said) {
  const { label, posteriors, text, windows, remarks, picture } = said;
  $("status").textContent = "";
  $("result-heading").textContent = `${label}: ${percent(posteriors[label])}`;
  $("of").textContent = windows.length ? `The mean of ${windows.length} windows.` : "";
  $("heard").textContent = text === null ? "" : `Recognised: ${text}`;
  $("remarks").replaceChildren(...remarks.map((remark) => element("li", remark)));
  const bars = about.classes.map((name) => bar(name, posteriors[name], name === label));
  $("bars").replaceChildren(...bars);
  $("over-time").hidden = windows.length === 0;
  if (windows.length) overTime(about.classes, windows);
  $("gates").hidden = !picture;
  if (picture) $("picture").src = picture;
  $("result").hidden = false;
  $("result-heading").focus();
}

function bar(name, p, first) {
  const row = element("div", "", { class: first ? "bar first" : "bar" });
  const track = element("div", "", {
    class: "track", role: "meter", "aria-label": name, "aria-valuemin": 0, "aria-valuemax": 100,
    "aria-valuenow": (100 * p).toFixed(1), "aria-valuetext": percent(p),
  });
  const fill = element("div", "", { class: "fill" });
  fill.style.width = `${100 * p}%`;
  track.append(fill);
  const number = element("span", percent(p), { class: "number", "aria-hidden": true });
  row.append(element("span", name), track, number);
  return row;
}

function overTime(classes, windows) {
  const [from, to] = [windows[0].start, windows[windows.length - 1].end];
  const strips = classes.map((name) => strip(name, windows, from, to));
  const axis = element("div", "", { class: "strip" });
  const times = element("div", "", { class: "axis" });
  times.append(element("span", `${from.toFixed(1)} s`), element("span", `${to.toFixed(1)} s`));
  axis.append(element("span"), times);
  $("strips").replaceChildren(...strips, axis);
  $("strips").setAttribute("aria-label", "The number of each class over time; a table follows.");
  const head = element("tr");
  const heard = windows.some((w) => w.text !== null);
  head.append(...["seconds", ...classes].map((name) => element("th", name, { scope: "col" })));
  if (heard) head.append(element("th", "recognised", { scope: "col", class: "words" }));
  const rows = windows.map(({ start, end, posteriors, text }) => {
    const row = element("tr");
    row.append(element("th", `${start.toFixed(1)} to ${end.toFixed(1)}`, { scope: "row" }));
    row.append(...classes.map((name) => element("td", percent(posteriors[name]))));
    if (heard) row.append(element("td", text, { class: "words" }));
    return row;
  });
  $("windows").replaceChildren(head, ...rows);
}

// A curve through the windows' middles, flat before the first and behind the last.
function strip(name, windows, from, to) {
  const x = ({ start, end }) => ((100 * ((start + end) / 2 - from)) / (to - from)).toFixed(2);
  const y = ({ posteriors }) => (100 - 100 * posteriors[name]).toFixed(2);
  const points = windows.map((w) => `L${x(w)} ${y(w)}`);
  const [first, last] = [y(windows[0]), y(windows[windows.length - 1])];
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 100 100");
  svg.setAttribute("preserveAspectRatio", "none");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", `M0 100 L0 ${first} ${points.join(" ")} L100 ${last} L100 100 Z`);
  svg.append(path);
  const row = element("div", "", { class: "strip" });
  row.append(element("span", name), svg);
  return row;
}

// --- Events

$("record").addEventListener("click", toggle);
$("ask").addEventListener("submit", ask);
$("file").addEventListener("change", ({ target }) => {
  if (recording) stop();
  if (target.files.length) choose(target.files[0], target.files[0].name);
});
$("player").addEventListener("error", () => { $("player").hidden = true; });
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault(); // a file beside the field must not replace the page
    $("drop").classList.toggle("over", kind.startsWith("drag") && kind !== "dragleave");
    const dropped = kind === "drop" && event.dataTransfer.files[0];
    if (dropped && !recording && !$("listens").hidden) {
      $("file").value = "";
      choose(dropped, dropped.name);
    }
  });
}
describe().catch(() => fail(GONE));
