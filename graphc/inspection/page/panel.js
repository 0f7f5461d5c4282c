// The panel of one node: everything known of it, with links to whatever it touches.

async function nodePanel(stage, node) {
  const data = await contents(stage);
  const operations = operationsOf(node);
  const rows = [
    ["type", el("code", {}, node.type)],
    node.note && ["attributes", el("code", { class: "wrap" }, shortened(node.note, 600))],
    ["operands", node.operands.length ? some(node.operands.map((id) => nodeWords(stage, data, id))) : muted("none")],
    [
      "users",
      data.users.get(node.id).length ? some(data.users.get(node.id).map((id) => nodeWords(stage, data, id))) : muted("none: a result"),
    ],
    ["kernel", kernelLink(node.kernel)],
    ...(await historyOf(stage, node)),
  ].filter(Boolean);
  return el(
    "div",
    { class: "about" },
    el("h3", {}, muted(`%${node.id} `), node.name, " ", muted(`after ${report.stages[stage].name}`)),
    el(
      "dl",
      {},
      rows.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]),
    ),
    el("h4", {}, operations.length ? counted(operations.length, "operation") : "No operation of yours"),
    operations.length
      ? node.operations.slice(0, 40).map(operationCard)
      : el("p", { class: "muted" }, "The compiler made this node; no operation of the graph is behind it."),
  );
}

const nodeWords = (stage, data, id) =>
  el("span", { class: "nowrap" }, nodeLink(stage, id), " ", muted(data.byId.get(id) ? data.byId.get(id).name : "?"));

function operationCard(index) {
  const operation = report.operations[index];
  return el(
    "div",
    { class: "card" },
    el("div", {}, operationLink(index), " ", muted(operation.type)),
    operation.line ? el("div", {}, lineLink(operation.line), " ", el("code", {}, lineText(operation.line))) : null,
    operation.fate ? el("div", { class: "fate" }, operation.fate) : null,
  );
}

// What passes did to a node: the change that made it, and the change that takes it away.
async function historyOf(stage, node) {
  const rows = [];
  const home = homeOf(stage);
  const made = (await contents(home)).changes.find((change) => change.after.includes(node.id));
  if (made)
    rows.push([
      `by ${report.stages[home].name}`,
      [
        badge(made.kind),
        " ",
        made.rule || made.why || "",
        made.before.length
          ? [
              " from ",
              some(
                made.before.map((id) => nodeLink(previous(home), id)),
                6,
              ),
            ]
          : "",
      ],
    ]);
  const next = report.stages.findIndex((s, index) => index > stage && s.changed);
  if (next > 0) {
    const change = (await contents(next)).changes.find((c) => c.before.includes(node.id));
    rows.push([
      `in ${report.stages[next].name}`,
      change
        ? [
            badge(change.kind),
            " ",
            change.rule || change.why || "",
            change.after.length
              ? [
                  " into ",
                  some(
                    change.after.map((id) => nodeLink(next, id)),
                    6,
                  ),
                ]
              : "",
          ]
        : muted("unchanged"),
    ]);
  }
  return rows;
}

// The stage that a changed stage started from: the nearest one before it whose nodes it was given.
const previous = (stage) => homeOf(stage - 1);
