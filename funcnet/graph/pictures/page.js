"use strict";
// The page reads one object, `graph`: nodes with what is known of them, and groups as grids of cells.
// The browser lays the grids out; this script fills the cards, draws the arrows, and steps.

const graph = JSON.parse(document.getElementById("graph").textContent);
const byId = (id) => document.getElementById(id);
const canvas = byId("canvas"), stage = byId("stage"), svg = byId("arrows");
const SVG = "http://www.w3.org/2000/svg";

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

// Steps: forwards through the operations, backwards through the adjoints, then the update.

const steps = [];
const knownAt = { value: [], adjoint: [], update: [] };
graph.nodes.forEach((node, i) => {
  if (node.kind !== "operation") { knownAt.value[i] = 0; return; }
  if (!graph.hasValues) return;
  steps.push({ phase: "forward", node: i, edges: node.parents.map((p) => [p, i]),
    text: `${node.name} = ${node.is}` + (node.is === node.value.text ? "" : ` = ${node.value.text}`) });
  knownAt.value[i] = steps.length;
});
if (graph.hasAdjoints) {
  for (let i = graph.nodes.length - 1; i >= 0; i--) {
    const node = graph.nodes[i];
    if (!node.adjoint) continue;
    steps.push({ phase: "backward", node: i, text: backwardText(node),
      edges: node.terms.filter((term) => term.from !== null).map((term) => [i, term.from]) });
    knownAt.adjoint[i] = steps.length;
  }
}
for (const move of graph.moves) {
  const node = graph.nodes[move.node];
  steps.push({ phase: "update", node: move.node, edges: [],
    text: `${move.text} = ${move.after.text}` });
  knownAt.update[move.node] = steps.length;
  node.after = move.after;
}
function backwardText(node) {
  const bar = `${node.name}_bar`, count = node.terms.length;
  if (!count) return `${bar} = 0: no path leads from here to the output`;
  if (count === 1) {
    const [term] = node.terms, why = term.from === null ? ": here the backward sweep begins" : "";
    return `${bar} = ${term.text}` + equals(term.text, node.adjoint) + why;
  }
  if (count > 3) return `${bar} = P1 + ... + P${count}` + equals("", node.adjoint) + `: the ${count} terms stand on the right`;
  const sum = node.terms.map((_, k) => `P${k + 1}`).join(" + ");
  return [`${bar} = ${sum}` + equals(sum, node.adjoint), ...node.terms.map((term, k) => termText(term, k))].join("\n");
}
function termText(term, k) {
  const way = term.from === null ? "from the output itself" : `through ${graph.nodes[term.from].name}`;
  return `P${k + 1}, ${way}: ${term.text}` + equals(term.text, term.value);
}
// " = value", unless that was said already
function equals(said, array) { return said === array.text || (said === "" && array.text === "0") ? "" : ` = ${array.text}`; }

const sweeps = [["values forwards", true], ["adjoints backwards", graph.hasAdjoints], ["the update", graph.moves.length]]
  .filter(([, isThere]) => isThere).map(([words]) => words);
let now = 0, chosen = null, playing = null;

// Cards and groups

const cards = new Map();   // node -> its card, once its group was open
const views = [];          // group -> { element, cells, open, filled }
const homeOf = [];         // node -> [group, cell]

graph.groups.forEach((group, g) => group.cells.forEach((cell, c) => {
  if (cell.node !== undefined) homeOf[cell.node] = [g, c];
  if (cell.group !== undefined) graph.groups[cell.group].home = [g, c];
}));
const ports = graph.groups.map((group) => {
  const found = new Map();
  group.cells.forEach((cell, c) => { if (cell.source !== undefined) found.set(`${cell.kind}/${cell.source}`, c); });
  return found;
});
const groupsAround = (i) => {
  const around = [];
  for (let home = homeOf[i]; home; home = graph.groups[home[0]].home) around.push(home[0]);
  return around;
};

function grid(g) {
  const element = make("div", "grid");
  views[g].cells = graph.groups[g].cells.map((cell) => {
    const made = cell.node !== undefined ? card(cell.node)
      : cell.group !== undefined ? box(cell.group)
      : make("div", cell.kind === "lane" ? "lane" : `port ${cell.kind}`);
    made.style.gridColumn = cell.column + 1;
    made.style.gridRow = cell.row + 1;
    element.append(made);
    return made;
  });
  return element;
}

function box(g) {
  const group = graph.groups[g], element = make("div", "group closed");
  const toggle = make("button", "toggle"), inside = make("div", "inside");
  toggle.onclick = () => { setOpen(g, !views[g].open); draw(); };
  element.append(toggle, inside);
  views[g] = { element, toggle, inside, open: false, cells: null };
  label(g);
  if (group.open) setOpen(g, true);
  return element;
}

function label(g) {
  const view = views[g], group = graph.groups[g];
  view.toggle.textContent = `${view.open ? "[-]" : "[+]"} ${group.label}`;
  view.toggle.setAttribute("aria-expanded", view.open);
  if (!view.open) view.inside.replaceChildren(`${group.count} nodes`, make("div", "where", "\u00a0"));
}

function setOpen(g, open) {
  const view = views[g];
  if (view.open === open || g === 0) return;
  view.open = open;
  view.element.classList.toggle("closed", !open);
  if (open) {
    if (!view.grid) view.grid = grid(g);
    view.inside.replaceChildren(view.grid);
  }
  label(g);
}

function card(i) {
  const node = graph.nodes[i], element = make("div", "card");
  if (node.kind !== "operation") element.classList.add("source");
  if (graph.outputs.includes(i)) element.classList.add("output");
  element.tabIndex = 0;
  element.setAttribute("role", "button");
  element.dataset.node = i;
  const name = make("div", "name", node.kind === "operation" ? `${node.name} = ${node.is}` : node.name);
  const type = make("div", "type", node.type + (graph.outputs.includes(i) ? ", output" : ""));
  name.title = name.textContent;
  element.append(name, type);
  if (graph.hasValues) element.append(fact("value"));
  if (graph.hasAdjoints && node.adjoint) element.append(fact("adjoint"));
  if (node.after) element.append(fact("after"));
  element.onclick = () => choose(i);
  element.onkeydown = (event) => { if (event.key === "Enter") choose(i); };
  cards.set(i, element);
  write(i, element);
  return element;
}

function fact(kind) {
  const element = make("div", `fact ${kind}`);
  element.append(make("span", "label", kind), make("span", "number"));
  return element;
}

// What is known at this step

function refresh() {
  for (const [i, element] of cards) write(i, element);
}

function write(i, element) {
  const node = graph.nodes[i];
  show(element.querySelector(".value"), node.value, knownAt.value[i] <= now);
  show(element.querySelector(".adjoint"), node.adjoint, knownAt.adjoint[i] <= now);
  show(element.querySelector(".after"), node.after, knownAt.update[i] <= now);
}

function show(element, array, isKnown) {
  if (!element) return;
  // What is not computed yet stands there unseen, so that cards keep their size.
  element.classList.toggle("unknown", !isKnown);
  if (element.shown) return;
  element.shown = true;
  const number = element.querySelector(".number");
  number.textContent = array.range ?? array.text;
  number.title = array.text;
  if (array.heat) number.before(heat(array.heat));
}

// Numbers as colours: dark is negative, light is positive, for any eye and any printer.

function heat(map) {
  const picture = make("canvas");
  picture.width = map.columns;
  picture.height = map.rows;
  const context = picture.getContext("2d"), image = context.createImageData(map.columns, map.rows);
  const cells = atob(map.cells);
  const stops = [[0, 32, 76], [124, 123, 120], [255, 234, 70]];
  for (let i = 0; i < cells.length; i++) {
    const code = cells.charCodeAt(i);
    const at = code / 127, low = Math.min(1, Math.floor(at)), share = at - low;
    const color = code === 255 ? [255, 0, 160] : stops[low].map((c, k) => c + share * (stops[low + 1][k] - c));
    image.data.set([...color, 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
  return picture;
}

function look(array) {
  const parts = [];
  if (array.entries !== undefined) parts.push(entries(array.entries));
  else if (array.heat) {
    parts.push(heat(array.heat), make("div", "scale"));
    const legend = make("div", "legend");
    for (const end of [`-${array.heat.most}`, "0", array.heat.most]) legend.append(make("span", "", end));
    parts.push(legend);
    if (array.heat.note) parts.push(make("div", "legend", array.heat.note));
  }
  if (array.stats) parts.push(list(array.stats));
  return parts;
}

function entries(value) {
  const shorten = (x) => (typeof x === "number" && !Number.isInteger(x) ? Number(x.toPrecision(6)).toString() : String(x));
  if (!Array.isArray(value)) return make("pre", "", shorten(value));
  const rows = Array.isArray(value[0]) ? value : [value];
  if (Array.isArray(rows[0][0])) return make("pre", "", JSON.stringify(value));
  const table = make("table");
  for (const row of rows) {
    const line = table.insertRow();
    for (const x of row) line.insertCell().textContent = shorten(x);
  }
  return table;
}

function list(pairs) {
  const element = make("dl");
  for (const [key, value] of Object.entries(pairs)) {
    if (value !== "") element.append(make("dt", "", key), make("dd", "", value));
  }
  return element;
}

// The panel on the right

function choose(i) {
  cards.get(chosen)?.classList.remove("chosen");
  chosen = i;
  cards.get(i)?.classList.add("chosen");
  const node = graph.nodes[i], panel = byId("details");
  const title = node.kind === "operation" ? `${node.name} = ${node.is}` : node.name;
  panel.replaceChildren(make("h2", "", title));
  panel.append(list({ kind: node.kind, operation: node.kind === "operation" ? node.op : "",
    type: node.type, scope: node.scope, line: node.line }));
  const part = (heading, ...content) => panel.append(make("h3", "", heading), ...content);
  if (node.value && knownAt.value[i] <= now) part("Value", ...look(node.value));
  if (node.adjoint && knownAt.adjoint[i] <= now) {
    const terms = node.terms.length > 1 ? node.terms.map(termText) : [backwardText(node)];
    part("Adjoint", ...terms.map((text) => make("div", "term", text)), ...look(node.adjoint));
  }
  if (node.after && knownAt.update[i] <= now) part("After the step", ...look(node.after));
  if (node.rule === null) return;
  const rule = graph.rules[node.rule];
  if (rule.formula || rule.code || node.back.length) part("Rule", list({ formula: rule.formula, source: rule.reference }));
  for (const back of node.back) panel.append(make("pre", "", back));
  if (rule.code) panel.append(make("pre", "code", rule.code));
  for (const [name, text] of Object.entries(rule.programs)) part(name, make("pre", "", text));
}

// Arrows, drawn between the cells where the browser has put them

let paths = new Map();     // "group/cell/source" -> the piece of arrow that ends there

function draw() {
  const origin = canvas.getBoundingClientRect();
  const pieces = [];
  views.forEach((view, g) => { if (isSeen(g)) measure(g, origin, pieces); });
  svg.querySelectorAll("path.arrow").forEach((path) => path.remove());
  paths = new Map();
  for (const { key, d, head } of pieces) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    path.classList.add("arrow");
    path.head = head;
    paths.set(key, path);
    svg.append(path);
  }
  svg.setAttribute("width", canvas.offsetWidth);
  svg.setAttribute("height", canvas.offsetHeight);
  mark();
}

function isSeen(g) {
  for (let home = [g]; home; home = graph.groups[home[0]].home) if (!views[home[0]]?.open) return false;
  return true;
}

function portRect(g, c, source, kind) {
  const cell = graph.groups[g].cells[c];
  if (cell.group === undefined || !views[cell.group].open) return views[g].cells[c].getBoundingClientRect();
  return views[cell.group].cells[ports[cell.group].get(`${kind}/${source}`)].getBoundingClientRect();
}

function measure(g, origin, pieces) {
  const group = graph.groups[g], rects = views[g].cells.map((cell) => cell.getBoundingClientRect());
  const left = [], right = [];
  group.cells.forEach((cell, c) => {
    left[cell.column] = Math.min(left[cell.column] ?? Infinity, rects[c].left - origin.left);
    right[cell.column] = Math.max(right[cell.column] ?? -Infinity, rects[c].right - origin.left);
  });
  for (const [start, end, source] of group.links) {
    const from = portRect(g, start, source, "out"), to = portRect(g, end, source, "in");
    const x0 = from.right - origin.left, y0 = (from.top + from.bottom) / 2 - origin.top;
    const cell = group.cells[end];
    const x1 = (cell.kind === "lane" ? to.right : to.left) - origin.left, y1 = (to.top + to.bottom) / 2 - origin.top;
    const a = right[group.cells[start].column], b = left[group.cells[end].column], middle = (a + b) / 2;
    pieces.push({ key: `${g}/${end}/${source}`,
      head: cell.node !== undefined || (cell.group !== undefined && !views[cell.group].open),
      d: `M${x0} ${y0}H${a}C${middle} ${y0} ${middle} ${y1} ${b} ${y1}H${x1}` });
  }
}

// The pieces of the arrow from one node to another: back from its end, through lanes and ports.

const cameFrom = graph.groups.map((group) => {
  const before = new Map();
  for (const [start, end, source] of group.links) before.set(`${end}/${source}`, start);
  return before;
});

function route(source, reader) {
  const pieces = [], inner = groupsAround(source);
  let [g, c] = homeOf[reader];
  for (;;) {
    const start = cameFrom[g].get(`${c}/${source}`);
    if (start === undefined) {           // an outer cell: the group holds both ends
      const home = graph.groups[g].home;
      if (graph.groups[g].cells[c].kind !== "in" || !home) break;
      [g, c] = home;
      continue;
    }
    pieces.push(`${g}/${c}/${source}`);
    c = start;
  }
  for (const g of inner) {                // on the other side, from the node out of its groups
    for (let c = ports[g].get(`out/${source}`); cameFrom[g].has(`${c}/${source}`);) {
      pieces.push(`${g}/${c}/${source}`);
      c = cameFrom[g].get(`${c}/${source}`);
    }
  }
  return pieces;
}

// Stepping

function mark() {
  const step = steps[now - 1];
  document.querySelectorAll(".active").forEach((element) => element.classList.remove("active", "backward"));
  document.querySelectorAll(".where").forEach((element) => { element.textContent = "\u00a0"; });
  for (const path of paths.values()) {
    path.removeAttribute("marker-start");
    path.setAttribute("marker-end", path.head ? "url(#head)" : "");
  }
  if (!step) return;
  for (const [p, n] of step.edges) {
    for (const key of route(p, n)) {
      const path = paths.get(key);
      if (!path) continue;
      path.classList.add("active", step.phase);
      if (step.phase === "forward" && path.head) path.setAttribute("marker-end", "url(#strong)");
      if (step.phase === "backward") {
        path.setAttribute("marker-end", "");
        const [g, end] = key.split("/").map(Number), start = cameFrom[g].get(`${end}/${p}`);
        const kind = graph.groups[g].cells[start].kind;
        if (kind === undefined) path.setAttribute("marker-start", "url(#strong)");
      }
      svg.append(path);                   // above the others
    }
  }
  const place = seen(step.node);
  place.classList.add("active");
  const where = place.querySelector(":scope > .inside > .where");
  if (where) where.textContent = `${step.phase}: ${graph.nodes[step.node].name}`;
}

function seen(i) {                        // the card, or the outermost closed group around it
  const closed = groupsAround(i).filter((g) => views[g] ? !views[g].open : true);
  const outermost = closed.filter((g) => views[g]).pop();
  return outermost === undefined ? cards.get(i) : views[outermost].element;
}

// The active box with what it is computed from, if all that fits, else the box alone in the middle;
// by scrolling the stage, not a page around this one.
function reveal(elements) {
  const boxes = elements.map((element) => element.getBoundingClientRect()), frame = stage.getBoundingClientRect();
  const by = (low, high, from, to) => {
    const margin = 24, least = Math.min(...boxes.map((box) => box[low])), most = Math.max(...boxes.map((box) => box[high]));
    if (most - least + 2 * margin > to - from) return (boxes[0][low] + boxes[0][high]) / 2 - (from + to) / 2;
    return least < from + margin ? least - from - margin : Math.max(0, most - to + margin);
  };
  stage.scrollBy(by("left", "right", frame.left, frame.right), by("top", "bottom", frame.top, frame.bottom));
}

function go(to) {
  now = Math.max(0, Math.min(steps.length, to));
  const step = steps[now - 1];
  let isMoved = false;
  if (step && byId("follow").checked) {
    for (const g of groupsAround(step.node).reverse()) {
      isMoved ||= !views[g]?.open;
      setOpen(g, true);
    }
  }
  refresh();
  byId("slider").value = now;
  byId("count").textContent = `step ${now} of ${steps.length}`;
  document.body.dataset.phase = step ? step.phase : "start";
  for (const button of byId("phases").children) {
    if (step && button.dataset.phase === step.phase) button.setAttribute("aria-current", "step");
    else button.removeAttribute("aria-current");
  }
  byId("narration").textContent = step
    ? `${step.phase[0].toUpperCase()}${step.phase.slice(1)}, step ${now - first(step.phase)} of ${size(step.phase)}\n${step.text}`
    : `${graph.title}\nOnly the arguments are known. What follows: ${sweeps.join(", then ")}.\n`
      + "Press the right arrow key to compute the first node.";
  if (isMoved || !paths.size) draw();
  else mark();
  if (step) {
    choose(step.node);
    reveal([seen(step.node), ...step.edges.flat().map(seen)]);
  }
}
const first = (phase) => steps.findIndex((step) => step.phase === phase);
const size = (phase) => steps.filter((step) => step.phase === phase).length;

function play(on) {
  clearInterval(playing);
  playing = on ? setInterval(() => (now < steps.length ? go(now + 1) : play(false)), 1100) : null;
  byId("play").textContent = on ? "pause" : "play";
  byId("play").setAttribute("aria-pressed", on);
}

// Controls

let scale = 1;
function zoom(factor) {
  scale = Math.max(0.4, Math.min(3, scale * factor));
  canvas.style.fontSize = `${12 * scale}px`;
  draw();
}
function fit() {
  const wide = (stage.clientWidth - 40) / canvas.offsetWidth, high = (stage.clientHeight - 40) / canvas.offsetHeight;
  zoom(Math.min(wide, high));
}
function openAll(open) {
  for (let g = 1; g < graph.groups.length; g++) if (views[g]) setOpen(g, open);
  draw();
}

const keys = {
  ArrowRight: () => go(now + 1), ArrowLeft: () => go(now - 1), Home: () => go(0), End: () => go(steps.length),
  " ": () => play(!playing), "+": () => zoom(1.2), "-": () => zoom(1 / 1.2),
  f: fit, o: () => openAll(true), c: () => openAll(false),
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
  if (event.key === " " && event.target.closest("button, label, input[type=checkbox]")) return;
  event.preventDefault();
  keys[event.key]();
});
const onClick = { first: keys.Home, back: keys.ArrowLeft, play: keys[" "], next: keys.ArrowRight, last: keys.End,
  "open-all": keys.o, "close-all": keys.c, smaller: keys["-"], larger: keys["+"], fit,
  theme: () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  } };
for (const [id, action] of Object.entries(onClick)) byId(id).onclick = action;
byId("slider").oninput = (event) => go(Number(event.target.value));

// Start

svg.innerHTML = ["head", "strong"].map((id) => `<marker id="${id}" class="${id}" viewBox="0 0 8 8" refX="8" refY="4"
  markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse" orient="auto-start-reverse"><path d="M0 0L8 4L0 8z"/></marker>`).join("");
views[0] = { element: canvas, open: true, cells: null };
canvas.append(grid(0));
byId("slider").max = steps.length;
["forward", "backward", "update"].filter(size).forEach((phase, k) => {
  const button = make("button", "", `${k + 1} ${phase} (${size(phase)})`);
  button.dataset.phase = phase;
  button.onclick = () => go(first(phase) + 1);
  byId("phases").append(button);
});
if (!steps.length) byId("controls").hidden = true;
const wishes = new URLSearchParams(location.hash.slice(1));
if (wishes.has("theme")) document.documentElement.dataset.theme = wishes.get("theme");
if (graph.nodes.length) choose(0);
// As large as fits, as far as letters stay readable.
zoom(Math.max(0.8, Math.min(1.7, (stage.clientWidth - 40) / canvas.offsetWidth, (stage.clientHeight - 40) / canvas.offsetHeight)));
go(Number(wishes.get("step") ?? 0));
new ResizeObserver(draw).observe(canvas);
