// A photo with its boxes, a table of them, and a slider for the least score.
"use strict";

const at = (id) => document.getElementById(id);
// {found: [{name, score, box}], size: {width, height}, picture}; a picture that this browser cannot
// show is null.
let shown = null;

function show() {
  const least = Number(at("least").value);
  at("least-shown").value = least.toFixed(2);
  if (!shown) return;
  const { found, size, picture } = shown;
  const canvas = at("picture"), context = canvas.getContext("2d");
  [canvas.width, canvas.height] = [size.width, size.height];
  if (picture) context.drawImage(picture, 0, 0, size.width, size.height);
  const line = Math.max(1, size.width / 400);
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

// Call back with the files that are dropped.
function onDrop(take) {
  for (const kind of ["dragover", "dragleave", "drop"]) {
    at("drop").addEventListener(kind, (event) => {
      event.preventDefault();
      at("drop").classList.toggle("over", kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files.length) take([...event.dataTransfer.files]);
    });
  }
}

at("least").addEventListener("input", show);
