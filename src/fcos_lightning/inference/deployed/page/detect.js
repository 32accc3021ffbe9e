// Boxes in a photo, found in the browser: nothing leaves the machine.
"use strict";

const at = (id) => document.getElementById(id);
let session, about, photo, found = [];

async function start() {
  if (typeof ort === "undefined") {
    throw new Error("ort.wasm.min.js of the npm package onnxruntime-web is not beside this page");
  }
  ort.env.wasm.wasmPaths = "./";
  ort.env.wasm.numThreads = 1; // more need headers that a plain server does not send
  const answer = await fetch("about.json");
  if (!answer.ok) throw new Error(`about.json: ${answer.status}`);
  about = await answer.json();
  session = await ort.InferenceSession.create("model.onnx");
  at("file").disabled = false;
  say("Ready.");
}

// Classes, scores and boxes in pixels of the photo, best first.
async function detect(image) {
  const { width, height } = image;
  const fixed = about.size.height_width;
  const shorter = about.size.shorter_side ?? 800, longer = about.size.longer_side ?? 1333;
  const scale = fixed
    ? Math.min(fixed[1] / width, fixed[0] / height)
    : Math.min(shorter / Math.min(width, height), longer / Math.max(width, height));
  const seen = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
  const [w, h] = fixed ? [fixed[1], fixed[0]] : seen;
  const canvas = new OffscreenCanvas(w, h);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillRect(0, 0, w, h); // black
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, ...seen);
  const rgba = context.getImageData(0, 0, w, h).data;
  const planes = new Uint8Array(3 * w * h);
  for (let pixel = 0; pixel < w * h; pixel++) {
    for (let colour = 0; colour < 3; colour++) planes[colour * w * h + pixel] = rgba[4 * pixel + colour];
  }
  const images = new ort.Tensor("uint8", planes, [1, 3, h, w]);
  const { boxes, scores, labels } = await session.run({ images });
  const factors = [width / seen[0], height / seen[1]];
  return Array.from(scores.data, (score, row) => ({
    name: about.class_names?.[Number(labels.data[row])] ?? String(labels.data[row]),
    score,
    box: Array.from(boxes.data.slice(4 * row, 4 * row + 4), (side, i) => side * factors[i % 2]),
  }));
}

async function look(file) {
  try {
    say("Looking.");
    photo = await createImageBitmap(file, { imageOrientation: "from-image" });
    const began = performance.now();
    found = await detect(photo);
    show();
    say(`${file.name}: ${found.length} found in ${Math.round(performance.now() - began)} ms.`);
  } catch (error) {
    say(`${file.name}: ${error.message}`);
  }
}

function show() {
  const least = Number(at("least").value);
  at("least-shown").value = least.toFixed(2);
  if (!photo) return;
  const canvas = at("picture"), context = canvas.getContext("2d");
  [canvas.width, canvas.height] = [photo.width, photo.height];
  context.drawImage(photo, 0, 0);
  const line = Math.max(1, photo.width / 400);
  context.lineWidth = line;
  context.font = `${8 * line}px system-ui, sans-serif`;
  const rows = found.filter((one) => one.score >= least).map((one) => {
    const [left, top, right, bottom] = one.box, text = `${one.name} ${one.score.toFixed(2)}`;
    context.strokeStyle = "#ffd60a";
    context.strokeRect(left, top, right - left, bottom - top);
    context.fillStyle = "#000c";
    context.fillRect(left, top, context.measureText(text).width + 4 * line, 10 * line);
    context.fillStyle = "#fff";
    context.fillText(text, left + 2 * line, top + 8 * line);
    const row = document.createElement("tr");
    [one.name, one.score.toFixed(3), ...one.box.map((side) => side.toFixed(1))].forEach((value, i) => {
      const cell = row.insertCell();
      cell.textContent = value;
      if (i) cell.className = "number";
    });
    return row;
  });
  at("found").tBodies[0].replaceChildren(...rows);
  at("found").hidden = rows.length === 0;
}

function say(text) {
  at("state").textContent = text;
}

at("file").addEventListener("change", () => at("file").files[0] && look(at("file").files[0]));
at("least").addEventListener("input", show);
for (const kind of ["dragover", "dragleave", "drop"]) {
  at("drop").addEventListener(kind, (event) => {
    event.preventDefault();
    at("drop").classList.toggle("over", kind === "dragover");
    const file = kind === "drop" && event.dataTransfer.files[0];
    if (file && session) look(file);
  });
}
start().catch((error) => say(`The page cannot start: ${error.message}`));
