"use strict";

// Tables that are sorted by the heads of their columns

function valueOf(row, column) {
  const cell = row.cells[column];
  if (cell.dataset.value === undefined) return cell.textContent.trim();
  return cell.dataset.value === "" ? null : Number(cell.dataset.value);
}

function compare(a, b) {
  return typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
}

// What was not measured comes last, whichever way the others are sorted.
function sortRows(body, column, sign) {
  const rows = [...body.rows].filter((row) => !row.classList.contains("divider"));
  const keyed = rows.map((row) => [valueOf(row, column), row]);
  keyed.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * compare(a, b);
  });
  body.append(...keyed.map(([, row]) => row));
}

// Names begin with A, numbers with the best. Bodies are sorted apart: published rows stay below.
function sortBy(head) {
  const table = head.closest("table");
  const column = head.cellIndex;
  const isName = column === 0;
  const before = head.ariaSort;
  const ascending = before === "none" ? isName : before === "descending";
  for (const other of table.tHead.rows[0].cells) other.ariaSort = "none";
  head.ariaSort = ascending ? "ascending" : "descending";
  for (const body of table.tBodies) sortRows(body, column, ascending ? 1 : -1);
}

for (const head of document.querySelectorAll("table.accuracy thead th")) {
  head.querySelector("button").addEventListener("click", () => sortBy(head));
}

// Commands to copy

async function copy(button) {
  const code = button.parentElement.querySelector("code");
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(code); // for the keys of the system to copy
    button.textContent = "Selected";
  }
}

for (const button of document.querySelectorAll("button.copy")) {
  button.addEventListener("click", () => copy(button));
}

// Routing as a heat map

// At this change of a weight a map has its darkest colours, as in routing.png.
const LEAST_CHANGE = 0.1;

// ColorBrewer's PuOr, orange for weights above the one at the start, and Blues.
const DIVERGING = [
  "2d004b", "542788", "8073ac", "b2abd2", "d8daeb", "f7f7f7",
  "fee0b6", "fdb863", "e08214", "b35806", "7f3b08",
];
const SEQUENTIAL = [
  "f7fbff", "deebf7", "c6dbef", "9ecae1", "6baed6", "4292c6", "2171b5", "08519c", "08306b",
];

const inPercent = (share, digits) => `${(100 * share).toFixed(digits)} %`;
const withSign = (weight, digits) => weight.toFixed(digits).replace("-", "−");

function largest(values) {
  return values.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1;
}

const QUANTITIES = {
  mean_weight: {
    title: "mean routing weight",
    colours: DIVERGING,
    range: (values, start) => {
      const most = Math.max(largest(values.map((value) => value - start)), LEAST_CHANGE);
      return [start - most, start + most];
    },
    short: (value) => withSign(value, 2),
    tick: (value) => withSign(value, 2),
  },
  largest_share: {
    title: "share of images whose largest routing weight is the expert's, %",
    colours: SEQUENTIAL,
    range: () => [0, 1],
    short: (value) => (100 * value).toFixed(0),
    tick: (value) => inPercent(value, 0),
  },
};

const channels = (hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16));

// The colour at a place from 0 to 1 between the ends of a scale.
function colourAt(colours, place) {
  const position = Math.min(Math.max(place, 0), 1) * (colours.length - 1);
  const index = Math.min(Math.floor(position), colours.length - 2);
  const [from, to] = [channels(colours[index]), channels(colours[index + 1])];
  return from.map((channel, i) => Math.round(channel + (position - index) * (to[i] - channel)));
}

// Relative luminance, as WCAG defines it.
function luminance(rgb) {
  const [r, g, b] = rgb.map((channel) => {
    const share = channel / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

// At this luminance, black and white are equally far from a background.
const inkOn = (rgb) => (luminance(rgb) > 0.179 ? "#000" : "#fff");

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

class HeatMap {
  constructor(figure) {
    this.figure = figure;
    this.table = figure.querySelector("table");
    this.form = figure.querySelector("form");
    this.data = JSON.parse(figure.querySelector("script").textContent);
    this.form.addEventListener("change", () => this.draw());
    this.table.addEventListener("keydown", (event) => this.walk(event));
    this.draw();
  }

  get task() {
    return this.form.elements.task.value;
  }

  get quantity() {
    return QUANTITIES[this.form.elements.quantity.value];
  }

  valueAt(name, block, expert) {
    const { task, block: blocks, expert: experts } = this.data;
    const row = task.indexOf(this.task) * blocks.length + block;
    return this.data[name][row * experts.length + expert];
  }

  draw() {
    hideTooltip();
    const { block: blocks, expert: experts } = this.data;
    const caption = element("caption", "", { "aria-live": "polite" });
    caption.append(element("span", `Images of ${this.task}: ${this.quantity.title}`));
    const head = element("thead", "");
    head.append(this.headRow(experts));
    const body = element("tbody", "");
    body.append(...blocks.map((name, block) => this.row(name, block, experts)));
    this.table.replaceChildren(caption, head, body);
    body.querySelector("td").tabIndex = 0;
    this.figure.classList.toggle("has-own", experts.includes(this.task));
    this.drawKey();
  }

  headRow(experts) {
    const row = element("tr", "");
    const heads = experts.map((name) => {
      const head = element("th", name, { scope: "col" });
      if (name === this.task) this.markOwn(head);
      return head;
    });
    row.append(element("th", "block", { scope: "col" }), ...heads);
    return row;
  }

  markOwn(head) {
    head.classList.add("own");
    head.append(element("span", ", its own expert", { class: "unseen" }));
  }

  row(name, block, experts) {
    const row = element("tr", "");
    const cells = experts.map((expert, column) => this.cell(block, column, expert));
    row.append(element("th", name, { scope: "row" }), ...cells);
    return row;
  }

  cell(block, column, expert) {
    const value = this.valueAt(this.form.elements.quantity.value, block, column);
    const [least, most] = this.range;
    const colour = colourAt(this.quantity.colours, (value - least) / (most - least));
    const cell = element("td", this.quantity.short(value), { tabindex: -1 });
    cell.style.backgroundColor = `rgb(${colour.join(" ")})`;
    cell.style.color = inkOn(colour);
    cell.classList.toggle("own", expert === this.task);
    cell.tells = [
      `Block ${this.data.block[block]}, expert ${expert}`,
      `images of ${this.task}`,
      `mean weight ${withSign(this.valueAt("mean_weight", block, column), 3)}`,
      `largest for ${inPercent(this.valueAt("largest_share", block, column), 1)} of the images`,
    ];
    return cell;
  }

  // One range for all tasks, so that their colours can be compared.
  get range() {
    return this.quantity.range(this.data[this.form.elements.quantity.value], this.data.start ?? 0);
  }

  drawKey() {
    const [least, most] = this.range;
    const stops = this.quantity.colours.map((hex) => `#${hex}`);
    this.figure.querySelector(".ramp").style.backgroundImage =
      `linear-gradient(to right, ${stops.join(", ")})`;
    this.figure.querySelector(".least").textContent = this.quantity.tick(least);
    this.figure.querySelector(".most").textContent = this.quantity.tick(most);
  }

  // Arrow keys, Home and End go from cell to cell; only one of them is a stop of the tab key.
  walk(event) {
    const cell = event.target.closest("td");
    const row = cell?.parentElement;
    const steps = {
      ArrowLeft: () => cell.previousElementSibling,
      ArrowRight: () => cell.nextElementSibling,
      ArrowUp: () => row.previousElementSibling?.cells[cell.cellIndex],
      ArrowDown: () => row.nextElementSibling?.cells[cell.cellIndex],
      Home: () => row.cells[1],
      End: () => row.cells[row.cells.length - 1],
    };
    if (!cell || !(event.key in steps)) return;
    event.preventDefault();
    const next = steps[event.key]();
    if (next?.tagName !== "TD") return;
    cell.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }
}

// Tables that are wider than the window say so

const HINT = "Scroll sideways for more columns →";

class SidewaysHint {
  constructor(frame) {
    this.frame = frame;
    this.hint = element("p", HINT, { class: "hint", "aria-hidden": "true" });
    frame.before(this.hint);
    frame.addEventListener("scroll", () => this.update(), { passive: true });
    new ResizeObserver(() => this.update()).observe(frame);
    this.update();
  }

  update() {
    const { scrollWidth, clientWidth, scrollLeft } = this.frame;
    this.hint.hidden = scrollWidth <= clientWidth + 1;
    this.frame.classList.toggle("more", scrollLeft + clientWidth < scrollWidth - 1);
  }
}

for (const frame of document.querySelectorAll("main .scroll")) new SidewaysHint(frame);

// Pictures that open large

const large = document.getElementById("large");

function enlarge(picture) {
  const copy = large.querySelector("img");
  copy.src = picture.src;
  copy.alt = picture.alt;
  large.showModal();
}

for (const button of document.querySelectorAll("button.enlarge")) {
  button.addEventListener("click", () => enlarge(button.querySelector("img")));
}
large.addEventListener("click", () => large.close());

// What a cell tells, while it is pointed at or has the focus

const tooltip = document.getElementById("tooltip");
let told = null;

function showTooltip(cell) {
  hideTooltip();
  told = cell;
  tooltip.replaceChildren(...cell.tells.map((line) => element("p", line)));
  tooltip.hidden = false;
  cell.setAttribute("aria-describedby", tooltip.id);
  placeTooltip();
}

function hideTooltip() {
  told?.removeAttribute("aria-describedby");
  told = null;
  tooltip.hidden = true;
}

// Above the cell, or below where there is no room; never over the edge of the window.
function placeTooltip() {
  if (!told) return;
  const gap = 8;
  const cell = told.getBoundingClientRect();
  const { width, height } = tooltip.getBoundingClientRect();
  const middle = cell.left + (cell.width - width) / 2;
  const rightmost = document.documentElement.clientWidth - width - gap;
  const above = cell.top - height - gap;
  tooltip.style.left = `${Math.max(gap, Math.min(middle, rightmost))}px`;
  tooltip.style.top = `${above < gap ? cell.bottom + gap : above}px`;
}

const cellOf = (event) => event.target.closest?.("table.heat td");

for (const begin of ["pointerover", "focusin"]) {
  document.addEventListener(begin, (event) => {
    const cell = cellOf(event);
    if (cell) showTooltip(cell);
  });
}
for (const end of ["pointerout", "focusout"]) {
  document.addEventListener(end, (event) => {
    if (cellOf(event) === told) hideTooltip();
  });
}
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") hideTooltip();
});
document.addEventListener("scroll", placeTooltip, { capture: true, passive: true });

for (const figure of document.querySelectorAll("figure.routing")) new HeatMap(figure);
