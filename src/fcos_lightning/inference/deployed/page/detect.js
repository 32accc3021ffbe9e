// Boxes in a photo, found in the browser: nothing leaves the machine.
"use strict";

let session, about;

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
    const picture = await createImageBitmap(file, { imageOrientation: "from-image" });
    const began = performance.now();
    const found = await detect(picture);
    shown = { found, size: { width: picture.width, height: picture.height }, picture };
    show();
    say(`${file.name}: ${found.length} found in ${Math.round(performance.now() - began)} ms.`);
  } catch (error) {
    say(`${file.name}: ${error.message}`);
  }
}

at("file").addEventListener("change", () => at("file").files[0] && look(at("file").files[0]));
onDrop(([file]) => session && look(file));
start().catch((error) => say(`The page cannot start: ${error.message}`));
