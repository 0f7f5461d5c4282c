// The first view: what was compiled, what every pass made of it, and how much there is of everything.

const overview = {
  title: "Overview",
  render(root) {
    const { signature, memory, phases, warnings } = report;
    const flops = report.kernels.reduce((sum, kernel) => sum + kernel.flops, 0);
    const moved = report.kernels.reduce((sum, kernel) => sum + kernel.bytes, 0);
    const first = report.stages[0];
    const last = report.stages[report.stages.length - 1];
    const built = Object.values(phases).reduce((sum, ms) => sum + ms, 0);
    root.append(
      warnings.length
        ? el(
            "section",
            { class: "warnings" },
            el("h2", {}, counted(warnings.length, "warning")),
            el(
              "ul",
              {},
              warnings.map((text) => el("li", {}, text)),
            ),
          )
        : "",
      el(
        "div",
        { class: "figures" },
        figure("operations", thousands(report.operations.length), "that the fetches need"),
        figure(
          "nodes",
          [thousands(first.count), el("span", { class: "to" }, " → "), thousands(last.count)],
          `after ${first.name}, after ${last.name}`,
        ),
        figure("kernels", thousands(report.kernels.length), distinctKinds()),
        figure("work", `${amount(flops)}flop`, `${bytes(moved)} moved, ${significant(moved ? flops / moved : 0)} flop a byte`),
        figure("a run", duration(totalTime()), measured() ? "sum of measured kernels" : "estimate for one core"),
        figure("arena", bytes(memory.arena), memory.arena ? arenaWords(memory) : "no memory of its own"),
        figure(
          "compiled in",
          duration(built * 1e3),
          Object.entries(phases)
            .map(([name, ms]) => `${name} ${duration(ms * 1e3)}`)
            .join(", "),
        ),
      ),
      el(
        "div",
        { class: "columns" },
        el("div", {}, section("Passes", passes()), section("What became of the operations", fates())),
        section("Where the time goes", heaviest()),
      ),
      section("Signature", el("div", { class: "columns" }, feedTable(signature.feeds), fetchTable(signature.fetches))),
    );
  },
};

// The fates of operations, those apart from kernels' numbers taken together.
function fates() {
  const groups = new Map();
  for (const { fate } of report.operations) {
    const words = fate.replace(/ (in |by )?kernels? \d.*$/, (_, how) => ` ${how || "in "}kernels`);
    groups.set(words, (groups.get(words) || 0) + 1);
  }
  const most = Math.max(...groups.values(), 1);
  return longTable(
    [
      { title: "fate", cell: ([words]) => link({ view: "source", find: words.replace(/ (in|by) kernels$/, "") }, words || "unknown") },
      { title: "operations", number: true, cell: ([, count]) => [thousands(count), " ", bar(count / most)] },
    ],
    [...groups].sort((a, b) => b[1] - a[1]),
    {},
    8,
  );
}

function distinctKinds() {
  const kinds = new Map();
  for (const kernel of report.kernels) kinds.set(kernel.kind, (kinds.get(kernel.kind) || 0) + 1);
  return [...kinds]
    .sort((a, b) => b[1] - a[1])
    .slice(0, 4)
    .map(([kind, count]) => `${count} ${kind}`)
    .join(", ");
}

function arenaWords(memory) {
  const above = memory.lower_bound ? memory.arena / memory.lower_bound - 1 : 0;
  const bound = above < 0.0005 ? "the least possible" : `${percent(above)} above the least possible`;
  return `${bound}; ${bytes(memory.unplanned)} unplanned`;
}

function passes() {
  const widest = Math.max(...report.stages.map((stage) => stage.count), 1);
  const slowest = Math.max(...report.stages.map((stage) => stage.ms), 1e-9);
  return table(
    [
      { title: "stage", cell: (stage) => link({ view: "graph", stage: stage.name }, stage.name) },
      { title: "nodes", number: true, cell: (stage) => [thousands(stage.count), " ", bar(stage.count / widest)] },
      {
        title: "time",
        number: true,
        cell: (stage) => [
          stage === report.stages[0] ? "" : duration(stage.ms * 1e3),
          " ",
          stage === report.stages[0] ? "" : bar(stage.ms / slowest, "time"),
        ],
      },
      { title: "", cell: outcome },
    ],
    report.stages,
  );
}

function outcome(stage) {
  if (stage === report.stages[0]) return muted("the operations, expanded");
  if (stage.problem) return [badge("failed"), " ", el("span", { class: "problem" }, stage.problem)];
  if (!stage.changed) return muted("unchanged");
  const words = Object.entries(stage.kinds)
    .map(([kind, count]) => `${thousands(count)} ${kind}`)
    .join(", ");
  return link({ view: "diff", stage: stage.name }, words || "new order");
}

function heaviest() {
  const total = totalTime() || 1;
  const rows = report.kernels
    .map((kernel, index) => ({ kernel, index }))
    .sort((a, b) => timeOf(b.kernel) - timeOf(a.kernel))
    .slice(0, 16);
  if (!rows.length) return empty("No kernel: nothing is left to compute.");
  return table(
    [
      { title: "kernel", cell: ({ kernel, index }) => link({ view: "kernels", kernel: index }, abridged(kernel.name, 46)) },
      { title: measured() ? "measured" : "estimate", number: true, cell: ({ kernel }) => duration(timeOf(kernel)) },
      { title: "share", number: true, cell: ({ kernel }) => [percent(timeOf(kernel) / total), " ", bar(timeOf(kernel) / total, "time")] },
    ],
    rows,
  );
}

const feedTable = (feeds) =>
  feeds.length
    ? table(
        [
          { title: "feed", cell: (feed) => feed.name },
          { title: "type", cell: (feed) => el("code", {}, feed.type) },
        ],
        feeds,
      )
    : empty("Nothing is fed.");

const fetchTable = (fetches) => table([{ title: "fetch", cell: (name) => name }], fetches);
