// What a pass changed: as a list grouped by rule, in the graph, or as two texts side by side.

const KINDS = ["removed", "replaced", "added", "fused", "rebuilt"];
const QUIET = "rebuilt"; // a node that is only as new as its operands: hidden at first

const diffView = {
  title: "Passes",
  key: (state) =>
    `${diffStage(state)} ${state.mode || "list"}${(state.mode || "list") === "graph" ? ` ${state.all || ""}` : JSON.stringify(state)}`,
  async render(root, state) {
    const stage = diffStage(state);
    root.append(passList(stage, state));
    const side = el("div", { class: "changes" });
    root.append(side);
    if (stage === null) return void side.append(empty("No pass changed this program."));
    const summary = report.stages[stage];
    side.append(
      el(
        "h2",
        {},
        summary.name,
        " ",
        muted(`${thousands(report.stages[previous(stage)].count)} → ${thousands(summary.count)} nodes, ${duration(summary.ms * 1e3)}`),
      ),
    );
    if (summary.problem)
      return void side.append(
        el("p", { class: "problem" }, badge("failed"), " ", summary.problem, ": the program went on as it was before this pass."),
      );
    if (!summary.changed) return void side.append(empty("This pass found nothing to change."));
    const mode = state.mode || "list";
    side.append(
      el(
        "div",
        { class: "tools" },
        choice("mode", mode, [
          ["list", "List"],
          ["graph", "Graph"],
          ["text", "Text"],
        ]),
      ),
    );
    if (mode === "text") return void (await textDiff(side, stage, state));
    if (mode === "graph") return await diffGraph(side, stage, state);
    return void (await changeList(side, stage, state));
  },
};

// The stage asked for, or the first that changed something.
function diffStage(state) {
  const changed = report.stages.findIndex((stage, index) => index > 0 && stage.changed);
  return stageNumber(state.stage, changed > 0 ? changed : null) || (changed > 0 ? changed : null);
}

function passList(chosen, state) {
  return el(
    "nav",
    { class: "passes", "aria-label": "Passes" },
    report.stages.slice(1).map((stage, index) =>
      el(
        "a",
        { href: hashOf({ view: "diff", stage: stage.name, mode: state.mode }), "aria-current": index + 1 === chosen },
        el("strong", {}, stage.name),
        stage.problem
          ? badge("failed")
          : stage.changed
            ? el(
                "span",
                { class: "marks" },
                Object.keys(stage.kinds).length ? "" : muted("another order"),
                KINDS.filter((kind) => stage.kinds[kind]).map((kind) =>
                  el("span", { class: `mark ${kind}`, title: kind }, thousands(stage.kinds[kind])),
                ),
              )
            : muted(stage.changed ? "" : "unchanged"),
      ),
    ),
  );
}

// List -----------------------------------------------------------------------------------------------------------------------------------

async function changeList(root, stage, state) {
  const after = await contents(stage);
  const before = await contents(previous(stage));
  const hidden = new Set((state.hide || QUIET).split(","));
  const wanted = (state.find || "").toLowerCase();
  const shown = after.changes.filter(
    (change) => !hidden.has(change.kind) && (!wanted || changeWords(change, before, after).includes(wanted)),
  );
  root.querySelector(".tools").append(
    ...kindChips(report.stages[stage].kinds, hidden),
    el("input", {
      type: "search",
      placeholder: "Filter   /",
      "aria-label": "Filter",
      value: state.find || "",
      onchange: (event) => adjust({ find: event.target.value || null }),
    }),
  );
  const groups = new Map();
  for (const change of shown) {
    const name = change.rule || (change.why && change.kind !== "fused" && change.why) || change.kind;
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(change);
  }
  if (!groups.size) root.append(empty(after.changes.length ? "Nothing of that kind." : "The same nodes, in another order."));
  const ordered = [...groups].sort((a, b) => KINDS.indexOf(a[1][0].kind) - KINDS.indexOf(b[1][0].kind) || b[1].length - a[1].length);
  for (const [name, changes] of ordered) root.append(changeGroup(name, changes, stage, before, after));
}

const kindChips = (counts, hidden) =>
  KINDS.filter((kind) => counts[kind]).map((kind) => {
    const next = new Set(hidden);
    if (!next.delete(kind)) next.add(kind);
    next.delete("none");
    return el(
      "button",
      { class: "chip", "aria-pressed": String(!hidden.has(kind)), onclick: () => adjust({ hide: [...next].join(",") || "none" }) },
      el("i", { class: `swatch ${kind}` }),
      kind,
      " ",
      muted(thousands(counts[kind])),
    );
  });

function changeWords(change, before, after) {
  const words = (data, id) =>
    data.byId.has(id)
      ? `%${id} ${data.byId.get(id).name} ${operationsOf(data.byId.get(id))
          .map((o) => `${o.name} ${o.line}`)
          .join(" ")}`
      : "";
  return [
    change.kind,
    change.rule,
    change.why,
    ...change.before.map((id) => words(before, id)),
    ...change.after.map((id) => words(after, id)),
  ]
    .join(" ")
    .toLowerCase();
}

// A rule's name apart from its mathematics: "multiply_by_one: x * 1 = x".
function ruleTitle(text) {
  const [name, ...maths] = text.split(": ");
  return [el("strong", {}, name), maths.length ? [" ", el("code", { class: "maths" }, maths.join(": "))] : ""];
}

function changeGroup(name, changes, stage, before, after) {
  const rows = el("div", { class: "rows" });
  const fill = (limit) =>
    rows.replaceChildren(
      ...changes.slice(0, limit).map((change) => changeRow(change, stage, before, after)),
      changes.length > limit
        ? el("button", { class: "more", onclick: () => fill(limit + 500) }, `${thousands(changes.length - limit)} more`)
        : "",
    );
  fill(changes[0].kind === "fused" ? 60 : 30);
  return el(
    "details",
    { class: "group", open: true },
    el("summary", {}, badge(changes[0].kind), " ", changes[0].rule ? ruleTitle(name) : name, " ", muted(`× ${thousands(changes.length)}`)),
    rows,
  );
}

function changeRow(change, stage, before, after) {
  const old = change.before.map((id) => nodeChip(previous(stage), before, id));
  const made = change.after.map((id) => nodeChip(stage, after, id));
  const why = change.why && (change.rule || change.kind === "fused") ? muted(change.why) : null;
  return el(
    "div",
    { class: `change ${change.kind}` },
    el("div", { class: "old" }, old.length ? old : muted("—")),
    el("div", { class: "arrow" }, "→"),
    el("div", { class: "new" }, made.length ? made : muted("gone"), why),
  );
}

function nodeChip(stage, data, id) {
  const node = data.byId.get(id);
  if (!node) return muted(`%${id}`);
  return el("span", { class: "node" }, nodeLink(stage, id), " ", node.name, " ", muted(abridged(placeOf(node, data) || node.type, 44)));
}

// Graph ----------------------------------------------------------------------------------------------------------------------------------

// Both programs as one graph: what stayed once, what went and what came in their colours. What was fused stands inside its kernel.
async function diffGraph(root, stage, state) {
  const { items, edges } = unionOf(await contents(previous(stage)), await contents(stage), stage);
  const around = state.all ? items : neighbourhood(items);
  const few = items.length - around.length;
  const lead =
    few || state.all
      ? [
          el(
            "button",
            { "aria-pressed": String(Boolean(state.all)), onclick: () => adjust({ all: state.all ? null : 1 }) },
            state.all ? "What changed only" : `All (${thousands(few)} more)`,
          ),
        ]
      : [];
  const legend = () =>
    KINDS.filter((kind) => report.stages[stage].kinds[kind]).map((kind) =>
      el(
        "span",
        { class: "chip still" },
        el("i", { class: `swatch ${kind}` }),
        kind,
        " ",
        muted(thousands(report.stages[stage].kinds[kind])),
      ),
    );
  const pane = await graphPane(root, around, { lead, legend, edges, modes: ["change", "kind"] }, state);
  const byKey = new Map(items.map((item) => [item.key, item]));
  const follow = async (now) => {
    await pane.follow(now);
    const item = now.node !== undefined && byKey.get(now.node);
    if (item) openPanel(() => adjust({ node: null }), await nodePanel(item.stage, item.node));
    else closePanel();
  };
  await follow(state);
  return follow;
}

function unionOf(before, after, stage) {
  const same = matched(before, after);
  const status = new Map();
  const became = new Map(); // node before -> key after
  const edges = [];
  const home = new Map(); // node before -> the node after that it was fused into
  const last = new Map(); // and of each such node the key of its last part, which stands for its value
  for (const change of after.changes) {
    for (const id of change.before) status.set(`b${id}`, change.kind);
    if (change.kind !== "removed") for (const id of change.after) status.set(`a${id}`, change.kind);
    if (change.kind === "fused") for (const id of change.before) home.set(id, change.after[0]);
    if (change.kind === "fused") last.set(change.after[0], `b${change.before[change.before.length - 1]}`);
    if (change.kind === "rebuilt")
      change.before.forEach((id, index) => became.set(id, `a${change.after[Math.min(index, change.after.length - 1)]}`));
    if (change.kind === "replaced" || change.kind === "removed")
      for (const from of change.before) for (const to of change.after) edges.push({ from: `b${from}`, to: `a${to}`, kind: "becomes" });
  }
  for (const [id, other] of same) if (!status.has(`b${id}`)) became.set(id, `a${other}`);
  const old = (id) => (became.has(id) ? became.get(id) : `b${id}`);
  const items = [];
  for (const node of before.nodes) {
    if (became.has(node.id)) continue;
    const kind = status.get(`b${node.id}`);
    items.push({
      ...itemOf(node, previous(stage), before),
      key: `b${node.id}`,
      operands: node.operands.map(old),
      status: kind === "replaced" ? "removed" : kind || "removed",
      place: home.has(node.id) ? fusedPlace(after, home.get(node.id)) : placeOf(node, before),
    });
  }
  for (const node of after.nodes) {
    const kind = status.get(`a${node.id}`);
    if (last.has(node.id)) continue; // its parts are there already
    items.push({
      ...itemOf(node, stage, after),
      key: `a${node.id}`,
      operands: node.operands.map((id) => last.get(id) ?? `a${id}`),
      status: kind,
    });
  }
  return { items, edges };
}

// Where the parts of a fused node stand: in a scope that is called as their kernel, beside the last of its operations.
function fusedPlace(after, id) {
  const node = after.byId.get(id);
  const name = node.kernel === null || node.kernel === undefined ? `${node.name} %${id}` : report.kernels[node.kernel].name;
  const last = operationsOf(node).pop();
  return [...(last ? last.name : placeOf(node, after)).split("/").slice(0, -1), name].join("/");
}

// Nodes that are the same in both programs, whatever their numbers: the same primitive, type and attributes of the same operands. Map by
// id.
function matched(before, after) {
  const numbers = new Map();
  const shapesOf = (data) => {
    const shape = new Map();
    const seen = new Map();
    for (const node of data.nodes) {
      const text = [node.name, node.type, node.note, ...node.operands.map((id) => shape.get(id))].join("\u0001");
      const nth = seen.get(text) || 0; // constants whose values are not told apart by their notes
      seen.set(text, nth + 1);
      const key = `${text}\u0001${nth}`;
      if (!numbers.has(key)) numbers.set(key, numbers.size);
      shape.set(node.id, numbers.get(key));
    }
    return shape;
  };
  const old = shapesOf(before);
  const fresh = new Map([...shapesOf(after)].map(([id, shape]) => [shape, id]));
  return new Map([...old].filter(([, shape]) => fresh.has(shape)).map(([id, shape]) => [id, fresh.get(shape)]));
}

// Items that changed, and those right beside them.
function neighbourhood(items) {
  const changed = new Set(items.filter((item) => item.status && item.status !== QUIET).map((item) => item.key));
  const near = new Set(changed);
  for (const item of items) {
    if (changed.has(item.key)) for (const operand of item.operands) near.add(operand);
    else if (item.operands.some((operand) => changed.has(operand))) near.add(item.key);
  }
  return items.filter((item) => near.has(item.key));
}
