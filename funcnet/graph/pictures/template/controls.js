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
