"use strict";
// The page reads one object, `graph`: nodes with what is known of them, and groups as grids of cells.
// The browser lays the grids out; these scripts, one after another, list the steps, fill the cards, draw
// the arrows, and step.

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
