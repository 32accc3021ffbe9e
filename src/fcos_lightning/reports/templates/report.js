"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const slider = byId("score"), ofClass = byId("of-class"), ofKind = byId("of-kind");
  const curveClass = byId("curve-class"), dialog = byId("large");
  const shots = [...document.querySelectorAll(".shot")];
  const { draw, element } = boxes(data.classes);
  const FEW = 6, MANY = 40;

  const threshold = () => Number(slider.value);
  const text = (value) => value === null ? "\u2013" : value.toFixed(3);

  // --- curves -------------------------------------------------------------------------------
  function points(xs, ys) {
    return ys === null || ys === undefined ? "" : xs.map((x, i) =>
      ys[i] === null ? "" : `${x},${(1 - ys[i]).toFixed(4)}`).join(" ");
  }

  function drawCurves() {
    const label = Number(curveClass.value);
    const curves = label < 0 ? data.curves.all : data.curves.classes[label];
    const precision = label < 0 ? data.precision_recall.all : data.precision_recall.classes[label];
    const lines = byId("curves").querySelectorAll("svg svg .line");
    ["precision", "recall", "F1"].forEach((name, i) =>
      lines[i].setAttribute("points", points(data.curves.thresholds, curves && curves[name])));
    byId("precision-recall").querySelector("svg svg .line")
      .setAttribute("points", points(data.precision_recall.recall, precision));
  }

  function showCounts() {
    const label = Number(curveClass.value), at = Math.round(threshold() * 100);
    const curves = label < 0 ? data.curves.all : data.curves.classes[label];
    const marker = byId("curves").querySelector(".marker");
    marker.setAttribute("x1", threshold());
    marker.setAttribute("x2", threshold());
    byId("score-shown").textContent = threshold().toFixed(2);
    if (!curves) { byId("counts").textContent = "The curves of this class are in report.json."; return; }
    const objects = label < 0 ? data.objects : data.classes[label].objects;
    const right = curves.right[at], wrong = curves.wrong[at];
    byId("counts").textContent = `${grouped(right + wrong)} detections: ${grouped(right)} right, ${grouped(wrong)} wrong; ` +
      `${grouped(objects - right)} of ${grouped(objects)} objects missed. Precision ${text(curves.precision[at])}, ` +
      `recall ${text(curves.recall[at])}, F1 ${text(curves.F1[at])}.`;
  }

  // --- boxes --------------------------------------------------------------------------------
  // What an image shows at the threshold, and whether it is a mistake that the filters ask for.
  function boxesOf(image) {
    const least = threshold(), label = Number(ofClass.value), kind = ofKind.value;
    const filtered = label >= 0 || kind !== "";
    const asked = (box) => (label < 0 || box.class === label) && (kind === "" || box.kind === kind);
    const truth = image.objects.map((object) => {
      const missed = !object.ignored && (object.found === null || object.found < least);
      const look = object.ignored ? "neither" : missed ? "miss" : "hit";
      return { ...object, kind: missed ? "missed" : look, look, mistake: missed };
    });
    const found = image.detections.filter((one) => one.score >= least).map((one) => {
      const mistake = one.kind !== "right" && one.kind !== "neither";
      return { ...one, look: mistake ? "false" : one.kind === "right" ? "hit" : "neither", mistake };
    });
    const mistakes = [...truth, ...found].filter((box) => box.mistake && asked(box));
    for (const box of [...truth, ...found]) box.faint = filtered && !mistakes.includes(box);
    return { truth, found, mistakes, filtered };
  }

  function drawShots() {
    let images = 0, boxes = 0;
    for (const shot of shots) {
      const image = data.worst.images[Number(shot.dataset.place)];
      const { truth, found, mistakes, filtered } = boxesOf(image);
      shot.hidden = filtered && mistakes.length === 0;
      if (shot.hidden) continue;
      images += 1;
      boxes += found.length;
      const all = [...truth, ...found].filter((box) => box.mistake);
      const missed = all.filter((box) => box.kind === "missed").length;
      shot.querySelector(".now").textContent = `${missed} missed, ${all.length - missed} wrong`;
      draw(shot.querySelector("[data-side=truth]"), image, truth, FEW);
      draw(shot.querySelector("[data-side=found]"), image, found, FEW);
    }
    byId("shown").textContent = `${images} of ${shots.length} images, ${grouped(boxes)} detections`;
  }

  // --- one image, large ---------------------------------------------------------------------
  let opened = null;
  function drawLarge() {
    if (opened === null) return;
    const image = data.worst.images[opened];
    const { truth, found, mistakes } = boxesOf(image);
    draw(dialog.querySelector("[data-side=truth]"), image, truth, MANY);
    draw(dialog.querySelector("[data-side=found]"), image, found, MANY);
    dialog.querySelector(".mistakes").replaceChildren(...mistakes.map((box) => {
      const line = document.createElement("li"), name = document.createElement("bdi");
      name.textContent = data.classes[box.class].name;
      const score = box.score === undefined ? "" : `, score ${box.score.toFixed(3)}`;
      line.append(`${box.kind}: `, name, score);
      return line;
    }));
  }

  function enlarge(shot) {
    opened = Number(shot.dataset.place);
    const image = data.worst.images[opened];
    dialog.querySelector("bdi").textContent = image.file;
    const panels = [...shot.querySelectorAll(".panel")].map((panel) => {
      const copy = panel.cloneNode(true);
      const picture = copy.querySelector("image");
      if (picture) picture.replaceWith(element("use", { href: `#${picture.id}` }));
      return copy;
    });
    dialog.querySelector(".panels").replaceChildren(...panels);
    dialog.showModal();
    drawLarge();
  }

  for (const shot of shots) {
    shot.querySelector(".enlarge").addEventListener("click", () => enlarge(shot));
  }
  byId("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => { opened = null; });

  slider.addEventListener("input", () => { showCounts(); drawShots(); });
  curveClass.addEventListener("change", () => { drawCurves(); showCounts(); });
  for (const filter of [ofClass, ofKind]) filter.addEventListener("change", drawShots);
  window.addEventListener("resize", () => { drawShots(); drawLarge(); });
  showCounts();
  drawShots();
})();
