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
