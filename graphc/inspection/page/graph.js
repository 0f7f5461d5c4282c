// A graph to walk in: folds, search, filters, colours. The view of a stage's graph is here; the diff shows its own items in the same pane.
//
// An item of a graph: {key, place, primitive, type, operands (keys), kernel, status, node, stage}; see tree.js for what folds.

const graphView = {
  title: "Graph",
  key: (state) => `${stageOf(state)}`,
  async render(root, state) {
    const stage = stageOf(state);
    const data = await contents(stage);
    const items = data.nodes.map((node) => itemOf(node, stage, data));
    const select = el(
      "select",
      { "aria-label": "Stage", onchange: (event) => visit({ view: "graph", stage: event.target.value, colour: state.colour }) },
      report.stages.map((s, index) =>
        el(
          "option",
          { value: s.name, selected: index === stage },
          `after ${s.name} · ${thousands(s.count)} nodes${s.changed || !index ? "" : " (unchanged)"}`,
        ),
      ),
    );
    const pane = await graphPane(root, items, { lead: [select], modes: ["kind", "kernel", "scope"] }, state);
    const follow = async (now) => {
      await pane.follow(now);
      const node = now.node !== undefined && data.byId.get(Number(now.node));
      if (node) openPanel(() => adjust({ node: null }), await nodePanel(stage, node));
      else closePanel();
    };
    await follow(state);
    return follow;
  },
};

const stageOf = (state) => stageNumber(state.stage, 0);

const itemOf = (node, stage, data) => ({
  key: String(node.id),
  place: placeOf(node, data),
  primitive: node.name,
  type: node.type,
  operands: node.operands.map(String),
  kernel: node.kernel,
  node,
  stage,
});

const HIDDEN_AT_FIRST = "constant";

// A graph with its tools in `root`. Gives {follow(state)}. options: lead (elements before the tools), modes (ways to colour), legend, and
// `edges`, further edges [{from, to, kind}] by item key.
async function graphPane(root, items, options, first) {
  const tree = scopeTree(items);
  const leaves = leavesOf(tree);
  const families = new Map();
  for (const item of items) families.set(familyOf(item.primitive), (families.get(familyOf(item.primitive)) || 0) + 1);
  const search = el("input", {
    type: "search",
    placeholder: "Search: operation, kind, line, %id   /",
    "aria-label": "Search",
    value: first.find || "",
    oninput: (event) => adjust({ find: event.target.value || null, at: null }, false),
    onkeydown: (event) => event.key === "Enter" && step(event.shiftKey ? -1 : 1),
  });
  const hits = el("span", { class: "hits" });
  const step = (by) => matches.length && adjust({ at: (Number(state.at || -1) + by + matches.length) % matches.length, node: null }, false);
  const legend = el("div", { class: "legend" });
  const sheet = el("div", { class: "sheet" });
  const words = el("span", { class: "muted seen" });
  root.append(
    el(
      "div",
      { class: "tools" },
      options.lead,
      search,
      el("button", { class: "previous", title: "Previous (p)", onclick: () => step(-1) }, "‹"),
      el("button", { class: "next", title: "Next (n)", onclick: () => step(1) }, "›"),
      hits,
      el("span", { class: "choice colours", role: "group" }),
      el(
        "button",
        { onclick: () => adjust({ open: null, fold: textOf([...scopesOf(tree)].map((s) => s.path).slice(0, 400)) }) },
        "Fold all",
      ),
      el("button", { onclick: () => adjust({ open: null, fold: null }) }, "Reset"),
      words,
    ),
    legend,
    sheet,
  );
  let matches = [];
  let asked = null; // what was searched for
  let anchor = null; // the scope that was just folded or unfolded: it stays where it is on the screen
  let before = {};
  const toggle = (scope, isAround) => {
    anchor = scope;
    const path = scope.path;
    const open = listOf(state.open).filter((p) => p !== path);
    const fold = listOf(state.fold).filter((p) => p !== path);
    (isAround ? fold : open).push(path);
    adjust({ open: textOf(open), fold: textOf(fold), node: null });
  };
  const canvas = await makeCanvas(
    sheet,
    (member, isAround) => (member.item ? adjust({ node: member.item.key }) : toggle(member, isAround)),
    tipOf,
  );
  const follow = async (now) => {
    const hidden = new Set((now.hide || HIDDEN_AT_FIRST).split(","));
    const chosen = now.node !== undefined ? leaves.get(now.node) : null;
    if (asked !== (now.find || "")) {
      asked = now.find || "";
      matches = found(items, asked);
    }
    const current = now.at !== undefined && matches[Number(now.at)] ? leaves.get(matches[Number(now.at)].key) : null;
    hits.textContent = asked
      ? current
        ? `${Number(now.at) + 1} of ${thousands(matches.length)}`
        : `${thousands(matches.length)} found`
      : "";
    if (document.activeElement !== search) search.value = asked;
    drawLegend(legend, families, hidden, options, now, items);
    root.querySelector(".colours").replaceChildren(...colourButtons(options.modes, now));
    const needed = [chosen, current].filter(Boolean);
    const shown = items.filter((item) => !hidden.has(familyOf(item.primitive)) || needed.some((leaf) => leaf.item === item));
    const open = unfolded(tree, listOf(now.open), new Set(listOf(now.fold)), needed);
    const scene = sceneOf(tree, open, shown, options.edges || []);
    words.textContent = `${counted(scene.boxes.length, "box", "boxes")} for ${counted(shown.length, "node")}`;
    const matching = new Set(matches.map((item) => item.key));
    const painting = colouring(now.colour || options.modes[0]);
    const at = anchor && anchored(canvas, anchor);
    const keep = before.drawn;
    paint(canvas, scene, painting, (box) => marksOf(box, matching, current || chosen), keep);
    if (at) held(canvas, anchor, at);
    if (needed.length && (before.node !== now.node || before.at !== now.at || !keep)) bringIn(canvas, current || chosen);
    if (chosen) nearEdges(canvas, chosen);
    anchor = null;
    before = { drawn: true, node: now.node, at: now.at };
    sheet.dataset.boxes = scene.boxes.length;
    sheet.dataset.edges = scene.edges.length;
  };
  return { follow };
}

// What is drawn: boxes, the scopes around them, edges, and their places.
function sceneOf(tree, open, items, more) {
  const all = visible(tree, open);
  const standIn = standIns(all.boxes);
  const keys = new Set(items.map((item) => item.key));
  const alive = new Set(items.map((item) => standIn.get(item.key)));
  const boxes = all.boxes.filter((box) => alive.has(box));
  const filled = new Set();
  for (const box of boxes) for (let scope = box.parent; scope && !filled.has(scope); scope = scope.parent) filled.add(scope);
  const around = all.around.filter((scope) => filled.has(scope));
  const extra = more
    .filter(({ from, to }) => keys.has(from) && keys.has(to))
    .map(({ from, to, kind }) => ({ from: standIn.get(from), to: standIn.get(to), kind, count: 1 }));
  const shown = new Map(items.map((item) => [item.key, standIn.get(item.key)]));
  const edges = [...mergedEdges(items, shown), ...extra.filter(({ from, to }) => from !== to)];
  return { boxes, around, edges, ...placed(tree, open, boxes, edges) };
}

// Items that have every word of `text`: a number after % is a node's own.
function found(items, text) {
  const wanted = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (!wanted.length) return [];
  return items.filter((item) => {
    const all = searchable(item);
    return wanted.every((word) => (/^%\d+$/.test(word) ? word === `%${item.node.id}` : all.includes(word)));
  });
}

function searchable(item) {
  if (item.words === undefined) {
    const kernel = item.kernel === null || item.kernel === undefined ? "" : report.kernels[item.kernel].name;
    const names = operationsOf(item.node).map((operation) => `${operation.name} ${operation.type} ${operation.line}`);
    item.words = [item.primitive, item.place, item.type, item.node.note, kernel, item.status || "", ...names].join(" ").toLowerCase();
  }
  return item.words;
}

function marksOf(box, matching, current) {
  const marks = [];
  if (matching.size && box !== current) marks.push(anyItem(box, (item) => matching.has(item.key)) ? "found" : "faint");
  if (box === current) marks.push("chosen");
  if (box.item && box.item.status === "removed") marks.push("gone");
  return marks;
}

function anyItem(member, test) {
  return member.item ? test(member.item) : member.members.some((inner) => anyItem(inner, test));
}

// The one value that all items of a member agree on, or null.
function agreed(member, valueOf) {
  if (member.item) return valueOf(member.item);
  const [first, ...rest] = member.members.map((inner) => agreed(inner, valueOf));
  return rest.every((value) => value === first) ? first : null;
}

// Box -> colour, by what the reader asked for.
function colouring(mode) {
  if (mode === "kernel")
    return (box) =>
      (({ kernel }) => (kernel === null ? themed("box") : nthColour(kernel)))({ kernel: agreed(box, (item) => item.kernel ?? null) });
  if (mode === "scope") {
    const numbers = new Map();
    return (box) => {
      let top = box;
      while (top.parent && top.parent.parent) top = top.parent;
      const name = top.path === undefined ? "" : top.path;
      if (!numbers.has(name)) numbers.set(name, numbers.size);
      return name ? nthColour(numbers.get(name)) : themed("box");
    };
  }
  if (mode === "change")
    return (box) => {
      const status = agreed(box, (item) => item.status || "same");
      return themed(
        status === "same" ? "box" : status === null ? (anyItem(box, (item) => item.status) ? "mixed" : "box") : STATUS_COLOURS[status],
      );
    };
  return (box) => {
    const family = agreed(box, (item) => familyOf(item.primitive));
    return themed(family ? FAMILY_COLOURS[family] : "box");
  };
}

const colourButtons = (modes, now) =>
  modes.map((mode) =>
    el("button", { "aria-pressed": String((now.colour || modes[0]) === mode), onclick: () => adjust({ colour: mode }) }, `by ${mode}`),
  );

// Kinds of nodes with their numbers; a click hides or shows one.
function drawLegend(legend, families, hidden, options, now, items) {
  const toggled = (name) => {
    const next = new Set(hidden);
    if (!next.delete(name)) next.add(name);
    next.delete("none");
    return [...next].join(",") || "none";
  };
  const chips = FAMILIES.filter(([name]) => families.has(name)).map(([name, words]) =>
    el(
      "button",
      {
        class: "chip",
        "aria-pressed": String(!hidden.has(name)),
        title: hidden.has(name) ? "Show" : "Hide",
        onclick: () => adjust({ hide: toggled(name) }),
      },
      el("i", { class: `swatch family-${name}` }),
      words,
      " ",
      muted(thousands(families.get(name))),
    ),
  );
  legend.replaceChildren(...chips, ...(options.legend ? options.legend(now, items) : []));
}

function tipOf(member) {
  if (!member.item) return `${member.path}\n${counted(member.size, "node")}: click to unfold`;
  const { node, status, stage } = member.item;
  const operations = operationsOf(node);
  return [
    `%${node.id} ${node.name} : ${node.type}`,
    node.note && shortened(node.note, 120),
    status && status !== "same" ? `${status} by ${report.stages[stage].name}` : "",
    ...operations.slice(0, 4).map((operation) => `${operation.name}${operation.line ? ` (${operation.line})` : ""}`),
    operations.length > 4 ? `and ${operations.length - 4} more` : "",
    node.kernel === null || node.kernel === undefined ? "" : `kernel ${report.kernels[node.kernel].name}`,
  ]
    .filter(Boolean)
    .join("\n");
}

// Where a scope is on the screen, and putting it there again after it was drawn anew.
function anchored(canvas, member) {
  const id = canvas.ids && canvas.ids.get(member);
  const box = id && canvas.cy.getElementById(id).renderedBoundingBox({ includeLabels: false });
  return box ? { x: (box.x1 + box.x2) / 2, y: box.y1 } : null;
}

function held(canvas, member, at) {
  const now = anchored(canvas, member);
  if (now) canvas.cy.panBy({ x: at.x - now.x, y: at.y - now.y });
}

function bringIn(canvas, member) {
  const id = canvas.ids.get(member);
  if (!id) return;
  const box = canvas.cy.getElementById(id).renderedBoundingBox();
  const inside = box.x1 > 0 && box.y1 > 0 && box.x2 < canvas.cy.width() && box.y2 < canvas.cy.height() && canvas.cy.zoom() > 0.5;
  if (!inside) lookAt(canvas, member);
}

function nearEdges(canvas, member) {
  const id = canvas.ids.get(member);
  if (id) canvas.cy.getElementById(id).connectedEdges().addClass("near");
}
