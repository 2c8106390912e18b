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
