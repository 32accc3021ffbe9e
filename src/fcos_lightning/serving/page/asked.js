// Boxes in photos, found by the server of this page.
"use strict";

const photos = []; // what was answered, in the order of the photos
let busy = Promise.resolve();

// A photo as this browser shows it; null where it does not know the format, and the server may.
async function opened(file) {
  try {
    return await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    return null;
  }
}

async function ask(file) {
  const most = Number(document.body.dataset.maxBytes);
  if (file.size > most) throw new Error(`the file is longer than ${most} bytes`);
  const headers = { "Content-Type": "application/octet-stream" }, token = at("token")?.value;
  if (token) headers.Authorization = `Bearer ${token}`;
  // All that there is, so that the slider needs no further answer.
  const answer = await fetch("detect?score_threshold=0", { method: "POST", headers, body: file });
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.error ?? `status ${answer.status}`);
  return told;
}

async function look(file) {
  say(`${file.name}: looking.`);
  try {
    const { boxes, scores, labels, names, size, milliseconds } = await ask(file);
    const found = scores.map((score, row) => ({
      name: names?.[row] ?? String(labels[row]), score, box: boxes[row],
    }));
    const photo = { name: file.name, found, size, picture: await opened(file) };
    photos.push(photo);
    offer(photo);
    choose(photo);
    say(`${file.name}: ${found.length} found in ${Math.round(milliseconds)} ms.`);
  } catch (error) {
    say(`${file.name}: ${error.message}`);
  }
}

// A button that shows a photo again.
function offer(photo) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = photo.name;
  button.addEventListener("click", () => choose(photo));
  photo.button = button;
  const item = document.createElement("li");
  item.append(button);
  at("photos").append(item);
  at("photos").hidden = false;
}

function choose(photo) {
  for (const one of photos) one.button.setAttribute("aria-pressed", String(one === photo));
  shown = photo;
  show();
}

// One after the other, so that many photos do not fill the server's line.
function lookAtAll(files) {
  for (const file of files) busy = busy.then(() => look(file));
}

at("file").addEventListener("change", () => lookAtAll(at("file").files));
at("token")?.form.addEventListener("submit", (event) => event.preventDefault());
onDrop(lookAtAll);
show();
