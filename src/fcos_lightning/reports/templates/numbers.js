"use strict";
// Numbers as the templates write them: 12,345.
const grouped = (count) => count.toLocaleString("en");
