"use strict";
// Presses, clicks and measures; `test_browser.py` reads what it wrote.
(() => {
  const seen = { errors: [], steps: [], clicked: {}, times: {} };
  const timed = (name, action) => { const t = performance.now(); action(); seen.times[name] = performance.now() - t; };
  window.onerror = (message) => seen.errors.push(message);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const one = (selector) => document.querySelector(selector);
  const inSight = (element) => element.getClientRects().length > 0 && getComputedStyle(element).visibility !== "hidden";
  const press = (key) => document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  const at = () => Number(one("#slider").value);

  const rect = (element) => element.getBoundingClientRect();
  function solid() { return all(".card, .group.closed").filter(inSight); }
  function overlaps() {
    const boxes = solid().map((element) => [element, rect(element)]), found = [];
    for (let i = 0; i < boxes.length; i++) {
      for (let j = 0; j < i; j++) {
        const [a, p] = boxes[i], [b, q] = boxes[j];
        if (p.left < q.right && q.left < p.right && p.top < q.bottom && q.top < p.bottom) {
          found.push([a.textContent, b.textContent]);
        }
      }
    }
    for (const [element, p] of boxes) {   // text that runs out of its box
      for (const child of element.querySelectorAll("*")) {
        const q = rect(child);
        if (inSight(child) && (q.right > p.right + 1 || q.bottom > p.bottom + 1)) found.push([child.textContent, "runs out"]);
      }
    }
    return found;
  }
  function behind() {                      // arrows that run through a box
    const boxes = solid().map(rect), origin = rect(one("#canvas")), found = [];
    for (const path of all("#arrows path.arrow")) {
      const length = path.getTotalLength(), around = rect(path);
      const near = boxes.filter((q) => q.left < around.right && around.left < q.right && q.top < around.bottom && around.top < q.bottom);
      for (let s = 3; near.length && s < length - 3; s += 5) {
        const p = path.getPointAtLength(s), x = p.x + origin.left, y = p.y + origin.top;
        if (near.some((q) => q.left + 2 < x && x < q.right - 2 && q.top + 2 < y && y < q.bottom - 2)) {
          found.push(path.getAttribute("d"));
          break;
        }
      }
    }
    return found;
  }
  function loose() {                       // arrows that do not begin and end at something, or cannot be seen
    const things = [...solid(), ...all(".lane, .port").filter(inSight)].map(rect), origin = rect(one("#canvas"));
    const touches = (p, side) => things.some((q) => Math.abs(p.x + origin.left - q[side]) < 2
      && q.top - 2 < p.y + origin.top && p.y + origin.top < q.bottom + 2);
    return all("#arrows path.arrow").filter((path) => {
      const length = path.getTotalLength(), [start, end] = [path.getPointAtLength(0), path.getPointAtLength(length)];
      const isShown = length > 12;
      return !(isShown && touches(start, "right") && (touches(end, "left") || touches(end, "right")));
    }).map((path) => path.getAttribute("d"));
  }
  function state() {
    return { overlaps: overlaps(), behind: behind(), loose: loose(), cards: all(".card").filter(inSight).length,
      closed: all(".group.closed").filter(inSight).length,
      open: all(".group:not(.closed)").filter(inSight).length };
  }

  seen.first = state();
  // Header, footer and panel: no part over another, nothing wider than the window.
  seen.first.chrome = ["header", "main", "footer"].map((s) => rect(one(s))).flatMap((p, i, list) =>
    (i && list[i - 1].bottom > p.top + 1 ? [i] : []));
  seen.first.sideways = document.documentElement.scrollWidth > innerWidth;
  seen.start = { known: { value: all(".fact.value:not(.unknown)").filter((e) => !e.closest(".source")).length,
    adjoint: all(".fact.adjoint:not(.unknown)").length } };

  const begun = performance.now();
  for (let last = -1; at() > last && !one("#controls").hidden;) {
    last = at();
    press("ArrowRight");
    if (at() === last) break;
    const marked = all(".card.active, .group.active").filter(inSight);
    const box = marked.length ? rect(marked[0]) : null, frame = rect(one("#stage"));
    seen.steps.push({ phase: document.body.dataset.phase, slider: at(), marked: marked.length,
      narration: one("#narration").textContent,
      arrows: all("#arrows path.arrow.active").length,
      visible: box !== null && box.left < frame.right && box.right > frame.left && box.top < frame.bottom && box.bottom > frame.top });
  }
  const total = seen.steps.length;
  seen.times["all steps"] = performance.now() - begun;
  seen.end = { ...state(), adjoint: Object.fromEntries(all(".card .fact.adjoint:not(.unknown)").map((e) =>
    [e.closest(".card").dataset.node, e.querySelector(".number").textContent])) };

  if (total) {
    const check = (name, action, wanted) => { action(); seen.clicked[name] = at() === wanted; };
    check("Home", () => press("Home"), 0);
    check("no step before the first", () => press("ArrowLeft"), 0);
    check("next", () => one("#next").click(), 1);
    check("back", () => one("#back").click(), 0);
    check("last", () => one("#last").click(), total);
    check("no step after the last", () => press("ArrowRight"), total);
    check("first", () => one("#first").click(), 0);
    check("slider", () => { one("#slider").value = 2; one("#slider").dispatchEvent(new Event("input")); }, 2);
    for (const button of all("#phases button")) {
      const first = seen.steps.findIndex((step) => step.phase === button.dataset.phase) + 1;
      check(button.dataset.phase, () => button.click(), first);
    }
    check("End", () => press("End"), total);
    check("back from the end", () => press("ArrowLeft"), total - 1);
    check("next to the end", () => press("ArrowRight"), total);
    check("play stops at the end", () => { one("#play").click(); one("#play").click(); }, total);
    check("follow", () => { press("Home"); one("#follow").click(); press("ArrowRight"); }, 1);
    seen.clicked["the active card is in sight"] = all(".card.active").filter(inSight).length === 1;
    one("#follow").click();
    const card = solid().find((element) => element.matches(".card"));
    if (card) {
      card.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true }));
      seen.clicked["Enter chooses"] = card.matches(".chosen") && one("#details h2").textContent.length > 0;
    }
  }

  seen.times["until groups"] = performance.now() - begun;
  // Groups: each by its own button, then all.
  for (let closed; (closed = all(".group.closed > .toggle").filter(inSight)).length;) {
    closed[0].click();
    if (closed[0].getAttribute("aria-expanded") !== "true") { seen.errors.push("a group did not open"); break; }
  }
  seen.times["until look"] = performance.now() - begun;
  timed("look", () => { seen.opened = state(); });
  timed("step", () => press("ArrowLeft"));
  timed("close all", () => press("c"));
  one("#slider").value = Math.round(0.85 * total);   // in the midst of the update: a long name in a closed group
  one("#slider").dispatchEvent(new Event("input"));
  seen.closed = state();
  timed("open all", () => press("o"));
  if (all(".card").filter(inSight).length !== seen.opened.cards) seen.errors.push("o does not open all");

  // Colours
  function luminance(color) {
    const [r, g, b] = color.match(/[\d.]+/g).map(Number).map((c) => c / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }
  function ground(element) {
    for (; element; element = element.parentElement) {
      const color = getComputedStyle(element).backgroundColor;
      if (!/, 0\)$/.test(color)) return color;
    }
    return "rgb(255, 255, 255)";
  }
  seen.contrast = {};
  for (let i = 0; i < 2; i++) {
    one("#theme").click();
    const found = seen.contrast[document.documentElement.dataset.theme] = {};
    for (const selector of [".name", ".type", ".value .number", ".adjoint .number", ".label", ".keys", "#narration", ".active .type",
      ".active .value .number", ".active .adjoint .number", "#details dt", "#details pre", ".toggle", ".inside", "header button"]) {
      const element = one(selector);
      if (!element) continue;
      const [a, b] = [luminance(getComputedStyle(element).color), luminance(ground(element))];
      found[selector] = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    }
  }
  seen.letters = Math.min(...all("#canvas .card *").map((e) => parseFloat(getComputedStyle(e).fontSize)));
  const controls = all("button, input, .card");
  seen.unreachable = controls.filter((e) => e.tabIndex < 0).map((e) => e.outerHTML.slice(0, 80));
  seen.unnamed = controls.filter((e) => !(e.textContent.trim() || e.getAttribute("aria-label") || e.labels?.length)).map((e) => e.outerHTML);

  seen.times["all"] = performance.now() - begun;
  const report = document.createElement("pre");
  report.id = "seen";
  report.textContent = JSON.stringify(seen);
  document.body.replaceChildren(report);
})();
