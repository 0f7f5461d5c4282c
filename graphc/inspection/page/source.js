// The user's program: each line with the operations that it declared, what became of them, and the kernels that compute them.

const sourceView = {
  title: "Source",
  async render(root, state) {
    const files = filesOf(state);
    const wanted = (state.find || "").toLowerCase();
    root.append(
      el(
        "div",
        { class: "tools" },
        el("input", {
          type: "search",
          placeholder: "Filter: operation, type, line, fate   /",
          "aria-label": "Filter",
          value: state.find || "",
          onchange: (event) => adjust({ find: event.target.value || null, operation: null, line: null }),
        }),
        muted(
          `${counted(report.operations.length, "operation")} of ${counted(
            [...files.values()].reduce((sum, lines) => sum + lines.size, 0),
            "line",
          )}`,
        ),
      ),
    );
    let shownAny = false;
    for (const [file, lines] of files) {
      const rows = [...lines]
        .sort((a, b) => a[0] - b[0])
        .map(([number, operations]) => ({
          number,
          operations: operations.filter((index) => !wanted || operationText(index).includes(wanted)),
          line: file === NO_FILE ? "" : `${file}:${number}`,
        }))
        .filter((row) => row.operations.length);
      if (!rows.length) continue;
      shownAny = true;
      root.append(
        section(
          file,
          longTable(
            SOURCE_COLUMNS,
            rows,
            { row: (row) => ({ class: isChosen(row, state) ? "chosen" : null, "data-line": row.line }) },
            400,
          ),
        ),
      );
    }
    if (!shownAny) root.append(empty("No operation matches."));
    root.querySelector("tr.chosen")?.scrollIntoView({ block: "center" });
    if (state.operation !== undefined && report.operations[Number(state.operation)])
      openPanel(() => adjust({ operation: null }), await operationPanel(Number(state.operation)));
    else if (state.line) openPanel(() => adjust({ line: null }), linePanel(state.line));
  },
};

const NO_FILE = "no line of yours";

// file -> line number -> operations.
function filesOf() {
  const files = new Map();
  report.operations.forEach((operation, index) => {
    const [, file, number] = /^(.*):(\d+)$/.exec(operation.line || "") || [null, NO_FILE, "0"];
    if (!files.has(file)) files.set(file, new Map());
    const lines = files.get(file);
    if (!lines.has(Number(number))) lines.set(Number(number), []);
    lines.get(Number(number)).push(index);
  });
  return files;
}

const operationText = (index) =>
  (({ name, type, line, fate, kernels }) =>
    [name, type, line, fate, ...kernels.map((kernel) => report.kernels[kernel].name)].join(" ").toLowerCase())(report.operations[index]);

const isChosen = (row, state) =>
  row.line === state.line ||
  row.operations.includes(Number(state.operation ?? -1)) ||
  (state.kernel !== undefined && kernelsOf(row.operations).includes(Number(state.kernel)));

const kernelsOf = (operations) => [...new Set(operations.flatMap((index) => report.operations[index].kernels))];

const lineTime = (kernels) => kernels.reduce((sum, kernel) => sum + timeOf(report.kernels[kernel]), 0);

const SOURCE_COLUMNS = [
  { title: "line", number: true, cell: (row) => (row.line ? link({ view: "source", line: row.line }, String(row.number)) : "") },
  { title: "", cell: (row) => el("code", { class: "clip source", "data-tip": lineText(row.line) }, lineText(row.line)) },
  {
    title: "kernels",
    class: "nowrap",
    cell: (row) =>
      some(
        kernelsOf(row.operations).map((kernel) =>
          el("a", { href: hashOf({ view: "kernels", kernel }), "data-tip": report.kernels[kernel].name }, String(kernel)),
        ),
        4,
      ),
  },
  {
    title: "their time",
    number: true,
    cell: (row) => (kernelsOf(row.operations).length ? duration(lineTime(kernelsOf(row.operations))) : ""),
    tip: "the whole of every kernel that the line has a part in",
  },
  {
    title: "operations",
    class: "nowrap",
    cell: (row) =>
      some(
        row.operations.map((index) => el("span", { class: report.operations[index].kernels.length ? null : "gone" }, operationLink(index))),
        2,
      ),
  },
];

function linePanel(line) {
  const operations = report.operations
    .map((operation, index) => ({ operation, index }))
    .filter(({ operation }) => operation.line === line)
    .map(({ index }) => index);
  const kernels = kernelsOf(operations);
  return el(
    "div",
    { class: "about" },
    el("h3", {}, line),
    lineText(line) ? code(lineText(line), "#") : "",
    el("h4", {}, kernels.length ? counted(kernels.length, "kernel") : "No kernel"),
    kernels.map((kernel) => el("div", {}, kernelLink(kernel), " ", muted(duration(timeOf(report.kernels[kernel]))))),
    el("h4", {}, counted(operations.length, "operation")),
    operations.slice(0, 200).map(operationCard),
  );
}

async function operationPanel(index) {
  const operation = report.operations[index];
  const rows = [
    ["type", operation.type],
    operation.line && ["line", [lineLink(operation.line), " ", el("code", {}, lineText(operation.line))]],
    ["fate", operation.fate || muted("unknown")],
    ["kernels", operation.kernels.length ? operation.kernels.map((kernel) => el("div", {}, kernelLink(kernel))) : muted("none")],
    ...(await stagesOf(index)),
  ].filter(Boolean);
  return el(
    "div",
    { class: "about" },
    el("h3", {}, operation.name),
    el(
      "dl",
      {},
      rows.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]),
    ),
  );
}

// The nodes of an operation, stage by stage.
async function stagesOf(index) {
  const rows = [];
  for (let stage = 0; stage < report.stages.length; stage += 1) {
    if (stage && !report.stages[stage].changed) continue;
    const data = await contents(stage);
    const ids = data.nodes.filter((node) => node.operations.includes(index)).map((node) => nodeWords(stage, data, node.id));
    rows.push([`after ${report.stages[stage].name}`, ids.length ? some(ids, 8) : muted("nothing")]);
  }
  return rows;
}
