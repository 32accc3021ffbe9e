"use strict";
(() => {
  const select = document.getElementById("severity");
  if (!select) return;
  const parts = [...document.querySelectorAll("[data-severity]")];
  const status = document.getElementById("shown");

  select.addEventListener("change", () => {
    let shown = 0;
    for (const part of parts) {
      part.hidden = select.value !== "" && part.dataset.severity !== select.value;
      if (!part.hidden && part.tagName === "SECTION") shown += 1;
    }
    status.textContent = select.value ? `${shown} kinds of severity ${select.value}` : "";
  });
})();
