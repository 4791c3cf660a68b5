// SPDX-License-Identifier: Apache-2.0
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const nodes = data.nodes, NS = "http://www.w3.org/2000/svg";
const element = (name, attributes, ...children) => {
  const made = document.createElement(name);
  for (const key in attributes || {}) made.setAttribute(key, attributes[key]);
  made.append(...children);
  return made;
};
const drawn = (name, attributes, text) => {
  const made = document.createElementNS(NS, name);
  for (const key in attributes) made.setAttribute(key, attributes[key]);
  if (text !== undefined) made.textContent = text;
  return made;
};
const scaled = (value, units) => {
  let unit = 0;
  while (value >= 1000 && unit + 1 < units.length) { value /= 1000; unit++; }
  return (unit ? value.toPrecision(3) : Math.round(value)) + units[unit];
};
const count = v => scaled(v, ["", " k", " M", " G", " T", " P"]);
const bytes = v => scaled(v, [" B", " kB", " MB", " GB", " TB"]);
const by = id => document.getElementById(id);

// Tables: rows are lists of texts, or of {bar, two} with parts of the whole.
function table(place, heads, rows) {
  const body = rows.map(row => element("tr", {}, ...row.map((cell, i) => {
    if (cell !== null && typeof cell === "object") {
      const bar = element("span", {class: "bar" + (cell.two ? " two" : ""),
        style: `width:${(100 * cell.bar).toFixed(2)}%`});
      return element("td", {class: "bars"}, ...(cell.bar > 0 ? [bar] : []));
    }
    return element("td", {class: heads[i][0] === "<" ? "w" : "n"}, String(cell));
  })));
  const top = heads.map(h => element("th", {class: h[0] === "<" ? "w" : ""},
    h.replace("<", "")));
  by(place).append(element("table", {}, element("thead", {},
    element("tr", {}, ...top)), element("tbody", {}, ...body)));
}

function fillTables() {
  const t = data.totals;
  const verdict = by("verdict");
  verdict.textContent = t.problems === 0 ? "Everything in this model is supported"
    : `${t.problems} thing${t.problems === 1 ? " is" : "s are"} not supported, or wrong`;
  verdict.className = "verdict " + (t.problems === 0 ? "good" : "bad");
  const tiles = [[count(t.parameters), "parameters"], [bytes(t.weight_bytes), "weights"],
    [count(t.flops), "FLOPs a request"], [t.nodes, "operators"]];
  if (data.planned) {
    tiles.push([t.steps, "kernels after fusion"],
      [bytes(t.workspace_bytes), "workspace a request"],
      [bytes(t.packed_bytes), "packed weights"]);
  }
  if (data.staged) {
    tiles.push(["by stages", "planned while it runs"]);
  }
  for (const [value, what] of tiles) {
    by("tiles").append(element("div", {class: "tile"}, element("b", {}, String(value)),
      element("span", {}, what)));
  }
  const rows = (list, what) => list.map(v => [what, v.name,
    ...v.is_known === false ? ["", "", "unknown before the run"]
      : [v.type, `[${v.dims.join(", ")}]`, `[${v.size.join(", ")}]`]]);
  table("tensors", ["<", "<name", "<type", "<shape", "<looked at with"],
    [...rows(data.inputs, "input"), ...rows(data.outputs, "output")]);
  by("chosen").textContent = data.chosen_sizes
    ? `Nobody gave sizes; looked at with ${data.chosen_sizes}.` : "";
  const mostBytes = Math.max(1, ...data.kinds.map(k => k.moved_bytes));
  table("kinds", ["<operator", "count", "FLOPs", "<", "moved", "<"], data.kinds.map(k =>
    [k.op, k.count, k.unmeasured === k.count ? "?" : count(k.flops),
      {bar: t.flops ? k.flops / t.flops : 0},
      k.unmeasured === k.count ? "?" : bytes(k.moved_bytes),
      {bar: k.moved_bytes / mostBytes, two: true}]));
  if (data.inner.length) {
    by("inner").hidden = false;
    table("inner-list", ["<operator", "count", "<"], data.inner.map(k =>
      [k.op, k.count, k.is_supported ? "" : "not supported"]));
  }
  if (data.problems.length) {
    by("problems").hidden = false;
    table("problem-list", ["<what", "<operator"], data.problems.map(p =>
      [p.text, p.node < 0 ? "" : `${nodes[p.node].op} ${nodes[p.node].name}`]));
  }
  if (data.planned) {
    by("plan").hidden = false;
    table("fusions", ["<became one", "times"], data.fusions.map(f => [f.text, f.count]));
    const most = Math.max(1, ...data.steps.map(s => s.flops));
    const width = Math.max(1, ...data.steps.map(s => s.moved_bytes));
    table("steps", ["", "<kernel", "<shape", "<operator", "FLOPs", "<", "moved", "<",
      "<how"], data.steps.map((s, i) => [i, s.kernel, s.shape,
      s.node < 0 ? "" : nodes[s.node].name, count(s.flops), {bar: s.flops / most},
      bytes(s.moved_bytes), {bar: s.moved_bytes / width, two: true}, s.how]));
  }
}

// The tree of layers. A place is {name, path, parts: Map, nodes: [number], flops, ...}.
const root = {name: "", path: "", parts: new Map(), nodes: [], depth: 0};
const placeOf = [];
nodes.forEach((node, number) => {
  let at = root;
  for (const part of node.group.split("/").filter(p => p)) {
    if (!at.parts.has(part)) {
      at.parts.set(part, {name: part, path: at.path + "/" + part, parts: new Map(),
        nodes: [], up: at});
    }
    at = at.parts.get(part);
  }
  at.nodes.push(number);
  placeOf[number] = at;
});
function addUp(place) {
  place.all = place.nodes.length; place.flops = 0; place.bad = 0; place.first = Infinity;
  for (const n of place.nodes) {
    place.flops += nodes[n].flops;
    place.bad += nodes[n].fate === "missing" ? 1 : 0;
    place.first = Math.min(place.first, n);
  }
  for (const part of place.parts.values()) {
    addUp(part);
    place.all += part.all; place.flops += part.flops; place.bad += part.bad;
    place.first = Math.min(place.first, part.first);
  }
}
addUp(root);
const opened = new Set([root]);
const size = place => place.parts.size + place.nodes.length;
// Opens the largest layers until there is enough to see.
function openSome(most) {
  let shown = size(root);
  for (;;) {
    const next = [...opened].flatMap(p => [...p.parts.values()])
      .filter(p => !opened.has(p) && shown + size(p) - 1 <= most)
      .sort((a, b) => b.all - a.all)[0];
    if (!next) return;
    opened.add(next);
    shown += size(next) - 1;
  }
}

const kinds = [["product", /MatMul|Gemm|Conv|Einsum|LSTM|GRU|RNN/, 0],
  ["attention, softmax", /Attention|Softmax|RotaryEmbedding/, 3],
  ["norm", /Norm/, 2],
  ["element by element", /^(Add|Sub|Mul|Div|Relu|Gelu|Sigmoid|Tanh|Erf|Pow|Sqrt|Exp|Clip|Where|HardS|Hard|Leaky|Silu|Swish|Elu|Min|Max|Neg|Abs|Log|Equal|Not|And|Or|Less|Greater)/, 1],
  ["reduction, pooling", /Reduce|Pool|Arg|TopK|CumSum/, 4]];
const kindOf = op => { const k = kinds.find(k => k[1].test(op)); return k ? k[2] : 5; };

const WIDTH = 168, HEIGHT = 44, GAP_X = 22, GAP_Y = 34;
let zoom = 1, chosen = null, items = [];

function itemOf(number) {
  let shown = null;
  for (let at = placeOf[number]; at; at = at.up) if (!opened.has(at)) shown = at;
  return shown;
}
function collect() {
  const hide = by("hide").checked, made = new Map();
  items = [];
  const owner = nodes.map((node, number) => {
    const quiet = node.fate === "constant" || node.fate === "unused";
    if (hide && quiet) return null;
    const place = itemOf(number), key = place || number;
    if (!made.has(key)) {
      const item = {place, number, first: number, to: new Set(), from: new Set()};
      made.set(key, item);
      items.push(item);
    }
    return made.get(key);
  });
  nodes.forEach((node, number) => {
    for (const source of node.from) {
      const a = owner[source], b = owner[number];
      if (a && b && a !== b) { a.to.add(b); b.from.add(a); }
    }
  });
  items.sort((a, b) => a.first - b.first);
  items.forEach((item, i) => { item.order = i; item.rank = 0; });
}
// Ranks by the longest way, then each row by the middle of what it reads.
function place() {
  for (const item of items) {
    for (const next of item.to) {
      if (next.order > item.order) next.rank = Math.max(next.rank, item.rank + 1);
    }
  }
  const rows = [];
  for (const item of items) (rows[item.rank] = rows[item.rank] || []).push(item);
  let right = 0;
  for (const row of rows) {
    for (const item of row) {
      const before = [...item.from].filter(f => f.rank < item.rank);
      item.wish = before.length
        ? before.reduce((sum, f) => sum + f.x, 0) / before.length : 0;
    }
    row.sort((a, b) => a.wish - b.wish || a.order - b.order);
    let x = -Infinity;
    for (const item of row) {
      item.x = Math.max(x, item.wish);
      x = item.x + WIDTH + GAP_X;
    }
    const shift = row.reduce((sum, i) => sum + i.wish - i.x, 0) / row.length;
    for (const item of row) item.x += shift;
  }
  const left = Math.min(...items.map(i => i.x), 0);
  for (const item of items) {
    item.x += 20 - left;
    item.y = 20 + item.rank * (HEIGHT + GAP_Y);
    right = Math.max(right, item.x + WIDTH + 20);
  }
  return [right, 20 + rows.length * (HEIGHT + GAP_Y)];
}
function draw() {
  collect();
  if (!items.length) return;
  const [width, height] = place();
  const svg = drawn("svg", {width: width * zoom, height: height * zoom,
    viewBox: `0 0 ${width} ${height}`});
  for (const a of items) {
    for (const b of a.to) {
      const back = b.order < a.order, x = a.x + WIDTH / 2, y = a.y + HEIGHT;
      const u = b.x + WIDTH / 2, v = b.y, bend = Math.max(18, Math.abs(v - y) / 2.5);
      svg.append(drawn("path", {class: (back ? "back" : "") +
        (chosen && (a === chosen || b === chosen) ? " hot" : ""),
        d: `M${x} ${y}C${x} ${y + bend} ${u} ${v - bend} ${u} ${v}`}));
    }
  }
  const total = Math.max(1, data.totals.flops);
  for (const item of items) svg.append(box(item, total));
  by("canvas").replaceChildren(svg);
}
// The end of a path, as much as there is room for.
function tail(path, most) {
  const parts = path.slice(1).split("/");
  let text = parts.pop();
  while (parts.length && text.length + parts[parts.length - 1].length < most) {
    text = parts.pop() + "/" + text;
  }
  return text;
}
const cut = (text, most) => text.length <= most ? text : text.slice(0, most - 1) + "\u2026";
function box(item, total) {
  const place = item.place, node = nodes[item.number];
  const bad = place ? place.bad : node.fate === "missing";
  const quiet = !place && /view|constant|unused/.test(node.fate);
  const made = drawn("g", {class: "box" + (place ? " group" : "") + (bad ? " bad" : "") +
    (quiet ? " quiet" : "") + (item === chosen ? " chosen" : ""),
    transform: `translate(${item.x} ${item.y})`, tabindex: 0});
  const flops = place ? place.flops : node.flops;
  made.append(drawn("rect", {class: "body", width: WIDTH, height: HEIGHT, rx: 7}));
  made.append(drawn("rect", {class: place ? "k0" : "k" + kindOf(node.op), x: 0, y: 6,
    width: 4, height: HEIGHT - 12, rx: 2}));
  made.append(drawn("text", {x: 12, y: 18}, place ? "\u25b8 " + cut(tail(place.path, 22), 22)
    : cut(node.op, 22)));
  const words = place ? `${place.all} operator${place.all === 1 ? "" : "s"}` : node.fate === "fused"
    ? "in " + cut(nodes[node.fused_into].op, 12)
    : node.fate === "kernel" || !node.fate ? node.out : node.fate;
  made.append(drawn("text", {class: "sub", x: 12, y: 33}, cut(words, 18)));
  if (flops > 0) {
    made.append(drawn("text", {class: "sub", x: WIDTH - 8, y: 33, "text-anchor": "end"},
      count(flops)));
    made.append(drawn("rect", {class: "k0", x: 8, y: HEIGHT - 6, height: 3, rx: 1.5,
      width: Math.max(1, (WIDTH - 16) * flops / total)}));
  }
  made.append(drawn("title", {}, place ? place.path.slice(1) : node.name));
  made.addEventListener("click", () => choose(item));
  made.addEventListener("keydown", e => { if (e.key === "Enter") choose(item); });
  return made;
}
function say(list) {
  return element("dl", {}, ...list.filter(([, value]) => value).flatMap(([name, value]) =>
    [element("dt", {}, name), element("dd", {}, ...[].concat(value))]));
}
function choose(item) {
  if (item.place) {
    opened.add(item.place);
    chosen = null;
    keep(() => draw());
    tell(item.place);
    return;
  }
  chosen = item;
  keep(() => draw());
  tellNode(item.number);
}
// Redraws without losing the place that one looks at.
function keep(change) {
  const frame = by("canvas"), top = frame.scrollTop, left = frame.scrollLeft;
  change();
  frame.scrollTop = top; frame.scrollLeft = left;
}
function tell(at) {
  const close = element("button", {}, "fold this layer");
  close.addEventListener("click", () => {
    for (const o of [...opened]) {
      for (let up = o; up; up = up.up) if (up === at) { opened.delete(o); break; }
    }
    opened.add(root);
    keep(draw);
  });
  by("side").replaceChildren(element("h3", {}, at.path.slice(1) || "the whole model"),
    say([["operators", String(at.all)], ["FLOPs", count(at.flops)]]),
    element("p", {}, ...(at === root ? [] : [close])));
}
function tellNode(number) {
  const node = nodes[number];
  const list = number => element("div", {}, nodes[number].op + " " + nodes[number].name);
  const problems = data.problems.filter(p => p.node === number).map(p => p.text);
  const steps = data.steps.filter(s => s.node === number)
    .map(s => element("div", {}, `${s.kernel} ${s.shape} (${s.how})`));
  const fused = nodes.flatMap((n, i) => n.fused_into === number ? [list(i)] : []);
  const place = element("button", {}, placeOf[number].path.slice(1) || "the model");
  place.addEventListener("click", () => tell(placeOf[number]));
  by("side").replaceChildren(element("h3", {}, node.op), say([
    ["name", node.name], ["problem", problems.join("; ")], ["result", node.out],
    ["FLOPs", node.flops ? count(node.flops) : ""],
    ["moved", node.moved_bytes ? bytes(node.moved_bytes) : ""],
    ["weights", node.weight_bytes ? bytes(node.weight_bytes) : ""],
    ["kernels", steps], ["done by", node.fate === "fused" ? list(node.fused_into) : ""],
    ["takes in", fused], ["what becomes of it", node.fate],
    ["reads", node.inputs.join(", ")], ["gives", node.outputs.join(", ")]]),
  element("p", {}, place));
}
function find(text) {
  const wanted = text.toLowerCase();
  const number = wanted ? nodes.findIndex(n => n.name.toLowerCase().includes(wanted) ||
    n.op.toLowerCase() === wanted) : -1;
  if (number < 0) return;
  for (let at = placeOf[number]; at; at = at.up) opened.add(at);
  draw();
  const item = items.find(i => !i.place && i.number === number);
  if (!item) { tellNode(number); return; }
  choose(item);
  by("canvas").scrollTop = item.y * zoom - 250;
  by("canvas").scrollLeft = item.x * zoom - 250;
}
function fit() {
  const [width] = place();
  zoom = Math.min(1, Math.max(0.25, (by("canvas").clientWidth - 20) / width));
}
fillTables();
for (const [name, , k] of [...kinds, ["other", 0, 5]]) {
  by("key").append(element("i", {style: `background:var(--c${k})`}), name);
}
by("open").addEventListener("click", () => { openSome(2 * items.length + 20); draw(); });
by("all").addEventListener("click", () => { openSome(Infinity); draw(); });
by("none").addEventListener("click", () => {
  opened.clear(); opened.add(root); zoom = 1; draw();
});
by("in").addEventListener("click", () => { zoom *= 1.25; draw(); });
by("out").addEventListener("click", () => { zoom /= 1.25; draw(); });
by("fit").addEventListener("click", () => { fit(); draw(); });
by("hide").addEventListener("change", draw);
by("find").addEventListener("change", e => find(e.target.value));
while (opened.size === 1 && root.parts.size === 1 && root.nodes.length === 0 &&
  ![...root.parts.values()].some(p => opened.has(p))) {
  opened.add([...root.parts.values()][0]);
}
openSome(size(root) < 12 ? 24 : 0);
tell(root);
draw();
if (items.length) { fit(); draw(); }
