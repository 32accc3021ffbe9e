"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const { draw } = boxes(data.classes);
  const dialog = byId("large"), ofPair = byId("of-pair"), ofClass = byId("of-class");
  const shots = [...document.querySelectorAll(".shot")];
  const FEW = 6, MANY = 40;

  // What a run shows of an image: its detections, and the objects that it misses.
  function boxesOf(image, side, label) {
    const found = image.found[side];
    const missed = found.missed.map((at) => ({ ...image.objects[at], look: "miss", mistake: true }));
    const detected = found.detections.map((one) => ({
      ...one, look: one.right ? "hit" : one.wrong ? "false" : "neither", mistake: one.wrong,
    }));
    const all = [...missed, ...detected];
    for (const box of all) box.faint = label >= 0 && box.class !== label;
    return all;
  }

  function drawShots() {
    const [other, better] = ofPair.value.split(" "), label = Number(ofClass.value);
    let images = 0;
    for (const shot of shots) {
      const image = data.shown[Number(shot.dataset.place)];
      const sides = [0, 1].map((side) => boxesOf(image, side, label));
      const asked = label < 0 || sides.flat().some((box) => box.mistake && !box.faint);
      shot.hidden = !asked || (other !== "" && (image.other !== Number(other) || image.better !== better));
      if (shot.hidden) continue;
      images += 1;
      sides.forEach((side, at) => draw(shot.querySelector(`[data-side="${at}"]`), image, side, FEW));
    }
    byId("shown").textContent = `${images} of ${shots.length} images`;
  }

  let opened = null;
  function drawLarge() {
    if (opened === null) return;
    const image = data.shown[opened], label = Number(ofClass.value);
    for (const side of [0, 1]) {
      draw(dialog.querySelector(`[data-side="${side}"]`), image, boxesOf(image, side, label), MANY);
    }
  }

  function enlarge(shot) {
    opened = Number(shot.dataset.place);
    dialog.querySelector("bdi").textContent = data.shown[opened].file;
    dialog.querySelector(".panels").replaceChildren(
      ...[...shot.querySelectorAll(".panel")].map((panel) => panel.cloneNode(true)));
    dialog.showModal();
    drawLarge();
  }

  for (const shot of shots) {
    shot.querySelector(".enlarge").addEventListener("click", () => enlarge(shot));
  }
  byId("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => { opened = null; });
  for (const filter of [ofPair, ofClass]) filter.addEventListener("change", drawShots);
  window.addEventListener("resize", () => { drawShots(); drawLarge(); });
  drawShots();
})();
