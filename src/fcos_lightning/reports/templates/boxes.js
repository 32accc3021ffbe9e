"use strict";
// Boxes on pictures, with their names: for every page that shows images.
const boxes = (classes) => {
  const SVG = "http://www.w3.org/2000/svg";
  const LETTER_PX = 12, LETTERS = 22;

  function element(name, attributes) {
    const made = document.createElementNS(SVG, name);
    for (const key in attributes) made.setAttribute(key, attributes[key]);
    return made;
  }

  function draw(svg, image, boxes, mostTags) {
    const group = svg.querySelector(".boxes");
    const shown = svg.getBoundingClientRect();
    const unit = Math.max(image.width / (shown.width || 160), image.height / (shown.height || 1e9));
    const plain = boxes.filter((box) => !box.faint);
    group.replaceChildren(...[...boxes].reverse().flatMap((box) => {
      const [x1, y1, x2, y2] = box.box;
      const place = { x: x1, y: y1, width: Math.max(x2 - x1, 0), height: Math.max(y2 - y1, 0) };
      const faint = box.faint ? " faint" : "";
      return [element("rect", { ...place, class: `halo${faint}` }),
        element("rect", { ...place, class: `box ${box.look}${faint}` })];
    }));
    if (plain.length <= mostTags) name(group, image, plain, unit);
  }

  // Names, the best first: above their box, else within it, else below; none upon another.
  function name(group, image, boxes, unit) {
    const size = LETTER_PX * unit, gap = 3 * unit, taken = [];
    for (const box of boxes) {
      const [x1, y1, , y2] = box.box;
      const letters = [...classes[box.class].name], room = image.width - 2 * gap;
      const score = box.score === undefined ? "" : ` ${box.score.toFixed(2)}`;
      const tag = element("text", { "font-size": size, "stroke-width": gap, class: `tag ${box.look}` });
      group.append(tag);
      let most = LETTERS, width;
      do {
        tag.textContent = (letters.length > most ? letters.slice(0, most - 1).join("") + "\u2026" : letters.join("")) + score;
        width = tag.getComputedTextLength();
        most -= 3;
      } while (width > room && most > 2);
      const x = Math.max(gap, Math.min(x1, image.width - width - gap));
      const free = [y1 - gap, y1 + size + gap, y2 + size + gap].find((y) =>
        y >= size * 1.25 && y <= image.height - 4 * unit && taken.every((other) =>
          x > other.x + other.width || x + width < other.x || Math.abs(y - other.y) > size));
      if (free === undefined) { tag.remove(); continue; }
      tag.setAttribute("x", x);
      tag.setAttribute("y", free);
      taken.push({ x, y: free, width });
    }
  }

  return { draw, element };
};
