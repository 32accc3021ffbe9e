"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg", COLOURS = 8, SHADES = 6, REACH_PX = 24, NUMBERED = 60;
  const pictures = [...document.querySelectorAll(".picture > svg")];
  const state = { image: 0, setting: 0, show: "box", levels: new Set(), box: null, point: null, found: null };
  let points = [];  // of the chosen setting in the chosen image, those that answer for a box

  const image = () => data.shown[state.image];
  const setting = () => data.settings[state.setting];
  const mapped = () => image().settings[state.setting];
  const said = () => state.setting === 0 ? image().said : undefined;
  // Of a page with many points, the last images have the chosen mapping alone.
  function workedOut() {
    const count = image().settings.length;
    [...byId("setting").options].forEach((option) => { option.disabled = Number(option.value) >= count; });
    if (state.setting >= count) { state.setting = 0; byId("setting").value = "0"; fillLevels(); }
  }
  const className = (label) => data.classes[label];
  const share = (value) => value === null || value === undefined ? "\u2013" : value.toFixed(2);
  const levelName = (stride) => Number.isInteger(Math.log2(stride)) ? `P${Math.log2(stride)}` : `stride ${stride}`;

  function element(name, attributes) {
    const made = document.createElementNS(SVG, name);
    for (const key in attributes) made.setAttribute(key, attributes[key]);
    return made;
  }
  function tag(name, ...content) {
    const made = document.createElement(name);
    made.append(...content);
    return made;
  }
  const bdi = (text) => tag("bdi", text);

  // Where a point is, in pixels of the file.
  function placed(index) {
    const { levels, size } = mapped(), perCell = setting().per_cell;
    let rest = index;
    for (let level = 0; level < levels.length; level += 1) {
      const [rows, columns, stepX, stepY] = levels[level], count = rows * columns * perCell;
      if (rest >= count) { rest -= count; continue; }
      const cell = Math.floor(rest / perCell), row = Math.floor(cell / columns), column = cell % columns;
      return {
        index, level, row, column, anchor: rest % perCell,
        x: (column + setting().offset) * stepX * image().width / size[1],
        y: (row + setting().offset) * stepY * image().height / size[0],
      };
    }
    return null;
  }

  function readPoints() {
    const { at, box, target, claims } = mapped();
    points = at.map((index, i) => ({ ...placed(index), box: box[i], target: target && target[i] / 100, claims: [box[i]] }));
    for (const [place, ...boxes] of claims) points[place].claims = [...new Set([box[place], ...boxes])];
    const there = said();
    if (there) {
      const place = new Map(there.at.map((index, i) => [index, i]));
      for (const point of points) point.said = place.get(point.index);
    }
  }
  const visible = () => points.filter((point) => state.levels.has(point.level) && (state.box === null || point.claims.includes(state.box)));

  // --- the picture --------------------------------------------------------------------------
  const dot = (point) => `M${point.x.toFixed(2)} ${point.y.toFixed(2)}h0`;
  const widthOf = (level) => 5 + 2.5 * level;

  function dots(group, list, look, extra = 0) {
    const levels = new Map();
    for (const point of list) {
      const key = `${point.level} ${look(point)}`;
      if (!levels.has(key)) levels.set(key, []);
      levels.get(key).push(dot(point));
    }
    for (const [key, path] of levels) {
      const [level, ...names] = key.split(" ");
      group.append(element("path", { d: path.join(""), class: `dots ${names.join(" ")}`, "stroke-width": widthOf(Number(level)) + extra }));
    }
  }

  // Cells in shades, the coarse ones below the fine ones.
  function heat(group, list) {
    for (const level of [...setting().strides.keys()].reverse()) {
      const step = mapped().levels[level][2] * image().width / mapped().size[1];
      for (const shade of [...new Set(list.map(look))]) {
        const path = list.filter((point) => point.level === level && look(point) === shade).map(dot).join("");
        if (path) group.append(element("path", { d: path, class: `cells ${shade}`, "stroke-width": 0.92 * step }));
      }
    }
  }

  function rectangle(group, box, look, quiet = "") {
    const [x1, y1, x2, y2] = box;
    const place = { x: x1, y: y1, width: Math.max(x2 - x1, 0), height: Math.max(y2 - y1, 0) };
    if (look !== "gone") group.append(element("rect", { ...place, class: `edge back ${quiet}` }));
    group.append(element("rect", { ...place, class: `edge ${look} ${quiet}` }));
  }

  function allPoints() {
    const list = [];
    let index = 0;
    mapped().levels.forEach(([rows, columns], level) => {
      for (let cell = 0; cell < rows * columns; cell += 1) {
        if (state.levels.has(level)) list.push(placed(index));
        index += setting().per_cell;
      }
    });
    return list;
  }

  function look(point) {
    if (state.show === "box" || state.show === "found") return `k${point.box % COLOURS}`;
    const value = state.show === "target" ? point.target : saidAt(point, state.show === "score" ? "own" : "quality");
    return value === null || value === undefined ? "k6" : `h${Math.min(Math.floor(value * SHADES), SHADES - 1)}`;
  }
  const saidAt = (point, what) => point.said === undefined || !said()[what] ? null : said()[what][point.said];

  function draw() {
    pictures.forEach((svg, place) => {
      svg.toggleAttribute("hidden", place !== state.image);
      svg.querySelector(".marks").replaceChildren();
    });
    const svg = pictures[state.image], group = svg.querySelector(".marks"), here = image();
    const unit = Math.max(here.width / (svg.getBoundingClientRect().width || 600), here.height / (svg.getBoundingClientRect().height || 1e9));
    const lost = new Set(mapped().unanswered.map((one) => one.number));
    const detections = state.show === "found";
    here.boxes.forEach((one, number) => {
      if (one.ignored) return;
      const quiet = (state.box !== null && state.box !== number) || detections ? "quieter" : "";
      rectangle(group, one.box, `k${number % COLOURS} ${lost.has(number) ? "lost" : ""} ${state.box === number ? "chosen" : ""}`, quiet);
    });
    if (byId("all-points").checked) dots(group, allPoints(), () => "all", -3);
    const list = visible();
    if (detections) drawFound(group);
    else if (state.show !== "box") heat(group, list);
    else {
      dots(group, list.filter((point) => point.claims.length > 1), () => "ring", 5);
      dots(group, list, () => "back", 2);
      dots(group, list, look);
    }
    drawChosen(group);
    if (here.boxes.length <= NUMBERED || state.box !== null) {
      here.boxes.forEach((one, number) => {
        if (one.ignored || (state.box !== null && state.box !== number)) return;
        const text = element("text", { x: one.box[0] + 2 * unit, y: Math.max(one.box[1] - 3 * unit, 12 * unit), "font-size": 13 * unit, "stroke-width": 3 * unit, class: "number" });
        text.textContent = number + 1;
        group.append(text);
      });
    }
    counts(list);
    scale();
  }

  function drawFound(group) {
    const there = said();
    if (!there) return;
    // The best last, above those that it removed.
    [...there.candidates.entries()].reverse().forEach(([place, [index, , score, fate, by]]) => {
      const box = there.box[there.at.indexOf(index)];
      if (fate === "kept" && (state.found === null ? score >= data.missed.threshold : state.found === place)) {
        rectangle(group, box, `k${place % COLOURS} chosen`);
      } else if (state.found !== null && by === state.found) rectangle(group, box, "gone");
    });
  }

  function drawChosen(group) {
    const point = points.find((one) => one.index === state.point);
    if (!point) return;
    for (const number of point.claims) {
      const [x1, y1, x2, y2] = image().boxes[number].box;
      rectangle(group, image().boxes[number].box, `k${number % COLOURS} chosen`);
      group.append(element("path", { d: `M${point.x} ${point.y}L${(x1 + x2) / 2} ${(y1 + y2) / 2}`, class: `link ${number === point.box ? "" : "other"}` }));
    }
    const box = saidAt(point, "box");
    if (box) rectangle(group, box, "said");
    dots(group, [point], () => "back", 9);
    dots(group, [point], () => "ring", 6);
    dots(group, [point], look);
  }

  function scale() {
    const bullets = (names, texts) => names.map((name, i) => {
      const svg = element("svg", { viewBox: "0 0 18 18", "aria-hidden": "true" });
      svg.append(element("path", { d: "M9 9h0", class: `dots ${name}`, "stroke-width": 10 }));
      return tag("li", svg, texts[i]);
    });
    const shaded = ["target", "score", "quality"].includes(state.show);
    byId("scale").replaceChildren(...(shaded ? bullets(["h0", "h1", "h2", "h3", "h4", "h5"], ["0 to .17", "to .33", "to .5", "to .67", "to .83", "to 1"]) :
      state.show === "box" ? setting().strides.map((stride, level) => {
        const svg = element("svg", { viewBox: "0 0 18 18", "aria-hidden": "true" });
        svg.append(element("path", { d: "M9 9h0", class: "dots k6", "stroke-width": widthOf(level) }));
        return tag("li", svg, levelName(stride));
      }) : []));
    const kinds = { centerness: "Centerness: 1 in the middle of the box, 0 at its edge.", weight: "How much of a positive each point is, by what the detector predicts.", none: "This method gives its points nothing to learn beside class and box before it has predicted, so there is nothing to show." };
    const quality = said() && said().quality ? "What the detector says of its own box there: centerness, or quality." : "This detector predicts no quality.";
    const other = said() ? { score: "Score of the class that the point should say, as the decoder counts it.", quality, found: "Detections of the score at least that the report counts; choose one in the table to see what it removed (dashed)." }[state.show] :
      ["score", "quality", "found"].includes(state.show) ? "The detector was asked under the chosen mapping alone; choose that one." : "";
    byId("remark").textContent = state.show === "target" ? kinds[setting().target] : state.show === "box" ? "Dashed boxes have no point." : other;
  }

  function counts(list) {
    const several = list.filter((point) => point.claims.length > 1).length;
    const { unanswered, size } = mapped();
    byId("counts").textContent = `${grouped(list.length)} points answer for a box, ${grouped(several)} are ambiguous; ` +
      `${grouped(unanswered.length)} of ${grouped(image().boxes.filter((one) => !one.ignored).length)} boxes have no point. Seen at ${size[1]} x ${size[0]} pixels.`;
  }

  // --- tables -------------------------------------------------------------------------------
  const boxList = (numbers) => (numbers.length === 1 ? "box " : "boxes ") + numbers.map((number) => number + 1).join(", ");

  function because(one) {
    const there = said(), words = [];
    const add = (...more) => words.push(...more);
    const detection = one.candidate === null || one.candidate === undefined ? null : there.candidates[one.candidate];
    if (one.reason === "too_small") add("too small at this size");
    if (one.reason === "no_point") add("no point may answer for it");
    if (one.reason === "other_box") add(`assigned to another box: ${boxList(one.by)} has its points`);
    if (one.reason === "no_fit") add(`no box fits: the best overlaps it by ${share(one.overlap)}`);
    if (one.reason === "weak") add(`score below the threshold: ${share(one.score)} at ${where(one.point)}`);
    if (one.reason === "left_out") add(`left out with ${share(one.score)}: others are better`);
    if (one.reason === "unknown") add("unknown");
    if (detection && one.reason === "suppressed") {
      add(`its box of ${share(one.score)} was suppressed by the `, bdi(className(detection[1])), ` of ${share(detection[2])}`, ofObject(one.candidate));
    }
    if (detection && one.reason === "other_object") add(`its box of ${share(one.score)} counts for another`, ofObject(one.candidate));
    if (one.other !== null && one.other !== undefined) add("; a box that fits says ", bdi(className(one.other)), ` with ${share(one.other_score)}`);
    return words;
  }
  function ofObject(candidate) {
    const found = said().found.find((row) => row[2] === candidate);
    return found ? `, which found box ${found[0] + 1}` : "";
  }
  function where(index) {
    const point = placed(index);
    return `${levelName(setting().strides[point.level])}, row ${point.row + 1}, column ${point.column + 1}`;
  }

  function fillBoxes() {
    const { by_box, unanswered, size } = mapped(), there = said();
    const lost = new Map(unanswered.map((one) => [one.number, one]));
    const missed = new Map((there ? there.missed : []).map((one) => [one.number, one]));
    const found = new Map((there ? there.found : []).map((row) => [row[0], row]));
    byId("per-level").textContent = setting().strides.map(levelName).join(" / ");
    byId("boxes").replaceChildren(...image().boxes.map((one, number) => {
      const button = tag("button", String(number + 1)), name = tag("th", button);
      button.type = "button";
      button.setAttribute("aria-pressed", state.box === number);
      button.addEventListener("click", () => { state.box = state.box === number ? null : number; state.point = null; refresh(); });
      const swatch = tag("span");
      swatch.className = `swatch s${number % COLOURS}`;
      const [x1, y1, x2, y2] = one.box, factor = size[1] / image().width;
      const what = one.ignored ? ["ignored"] : missed.has(number) ? ["missed: ", ...because(missed.get(number))] :
        lost.has(number) ? because(lost.get(number)) : found.has(number) ? [`found with ${share(found.get(number)[1])}`] : [`${grouped(by_box[number].reduce((a, b) => a + b, 0))} points`];
      const label = tag("td", swatch, bdi(className(one.class))), words = tag("td", ...what);
      label.className = words.className = "words";
      const row = tag("tr", name, label, tag("td", `${Math.round((x2 - x1) * factor)} x ${Math.round((y2 - y1) * factor)}`),
        tag("td", one.ignored ? "\u2013" : (by_box[number] || setting().strides.map(() => 0)).map(grouped).join(" / ")), words);
      name.scope = "row";
      row.className = state.box === number ? "on" : "";
      return row;
    }));
  }

  function fillDetections() {
    if (!byId("detections")) return;
    const there = said();
    const rows = (there ? there.candidates : []).map((row, place) => [row, place]).filter(([row]) => row[3] === "kept");
    byId("detections").replaceChildren(...rows.map(([[, label, score], place], number) => {
      const removed = there.candidates.filter((row) => row[4] === place).length;
      const button = tag("button", `D${number + 1}`), name = tag("th", button), words = tag("td", bdi(className(label)));
      button.type = "button";
      button.setAttribute("aria-pressed", state.found === place);
      button.addEventListener("click", () => {
        state.found = state.found === place ? null : place;
        state.show = byId("show").value = "found";
        refresh();
      });
      words.className = "words";
      name.scope = "row";
      const found = there.found.find((row) => row[2] === place);
      const row = tag("tr", name, words, tag("td", share(score)), tag("td", found ? String(found[0] + 1) : "\u2013"), tag("td", grouped(removed)));
      row.className = state.found === place ? "on" : "";
      return row;
    }));
  }

  // --- one point ----------------------------------------------------------------------------
  function showPoint() {
    const list = visible(), at = list.findIndex((one) => one.index === state.point);
    byId("which").textContent = list.length ? `${at < 0 ? "none" : grouped(at + 1)} of ${grouped(list.length)}` : "no points here";
    for (const id of ["before", "after"]) byId(id).disabled = list.length === 0;
    const point = list[at];
    if (!point) { byId("about").replaceChildren(tag("p", "Choose a point in the picture, or go from one to the next.")); return; }
    const lines = [[`${where(point.index)}${setting().per_cell > 1 ? `, anchor ${point.anchor + 1}` : ""}: answers for box ${point.box + 1}, `, bdi(className(image().boxes[point.box].class)), "."]];
    const others = point.claims.filter((number) => number !== point.box);
    if (others.length) lines.push([`Ambiguous: ${boxList(others)} ${others.length > 1 ? "claim" : "claims"} it as well.`]);
    if (point.target !== null) lines.push([`${setting().target === "centerness" ? "Centerness" : "Weight"} to learn ${share(point.target)}.`]);
    if (point.said !== undefined && said()) {
      const best = saidAt(point, "class");
      lines.push(["Predicted: ", bdi(className(best)), ` ${share(saidAt(point, "score"))}; its own class ${share(saidAt(point, "own"))}` +
        (said().quality ? `; quality ${share(saidAt(point, "quality"))}` : "") + "."]);
      const place = said().candidates.findIndex((row) => row[0] === point.index);
      if (place >= 0) {
        const [, , , fate, by] = said().candidates[place];
        lines.push(fate === "suppressed" && by >= 0 ? ["Its box was suppressed by the ", bdi(className(said().candidates[by][1])), ` of ${share(said().candidates[by][2])}${ofObject(by)}.`] :
          [{ kept: "Its box is a detection.", cut: "Its box is not among the best of its level.", beyond: "Its box is beyond the most that an image may have.", empty: "Its box has no area in the image." }[fate] || ""]);
      }
    }
    byId("about").replaceChildren(...lines.map((words) => tag("p", ...words)));
  }

  function step(by) {
    const list = visible(), at = list.findIndex((one) => one.index === state.point);
    if (!list.length) return;
    state.point = list[at < 0 ? (by > 0 ? 0 : list.length - 1) : (at + by + list.length) % list.length].index;
    draw();
    showPoint();
  }

  function choose(event) {
    const svg = pictures[state.image], area = svg.getBoundingClientRect(), here = image();
    const unit = Math.max(here.width / area.width, here.height / area.height);
    const x = (event.clientX - area.left - (area.width - here.width / unit) / 2) * unit;
    const y = (event.clientY - area.top - (area.height - here.height / unit) / 2) * unit;
    let best = null, least = REACH_PX * unit;
    for (const point of visible()) {
      const away = Math.hypot(point.x - x, point.y - y);
      if (away < least) { best = point.index; least = away; }
    }
    state.point = best;
    draw();
    showPoint();
  }

  function fillLevels() {
    const strides = setting().strides;
    state.levels = new Set(strides.keys());
    const legend = byId("level-boxes").querySelector("legend");
    byId("level-boxes").replaceChildren(legend, ...strides.map((stride, level) => {
      const box = document.createElement("input");
      box.type = "checkbox";
      box.checked = true;
      box.addEventListener("change", () => { state.levels[box.checked ? "add" : "delete"](level); draw(); showPoint(); });
      return tag("label", box, ` ${levelName(stride)}`);
    }));
  }

  function refresh() { readPoints(); draw(); fillBoxes(); fillDetections(); showPoint(); }
  function anew() { state.box = state.point = state.found = null; refresh(); }

  byId("image").addEventListener("change", (event) => { state.image = Number(event.target.value); workedOut(); anew(); });
  byId("setting").addEventListener("change", (event) => { state.setting = Number(event.target.value); fillLevels(); anew(); });
  byId("show").addEventListener("change", (event) => { state.show = event.target.value; draw(); });
  byId("all-points").addEventListener("change", draw);
  byId("before").addEventListener("click", () => step(-1));
  byId("after").addEventListener("click", () => step(1));
  for (const svg of pictures) svg.addEventListener("click", choose);
  window.addEventListener("resize", draw);
  workedOut();
  fillLevels();
  refresh();
})();
