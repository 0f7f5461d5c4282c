// Why two kernels are two: every value that one kernel hands to another, with the reason why they were not fused.

const edgesView = {
  title: "Why not fused",
  render(root, state) {
    const wanted = (state.find || "").toLowerCase();
    const named = report.edges.filter((edge) => !wanted || edgeWords(edge).includes(wanted));
    const shown = named.filter((edge) => state.why === undefined || reasonOf(edge) === state.why);
    if (!report.edges.length) return void root.append(empty("No kernel hands a value to another."));
    root.append(
      el(
        "p",
        { class: "lead" },
        `${counted(report.edges.length, "value")} ${report.edges.length === 1 ? "goes" : "go"} from one kernel to another `,
        `through memory, ${bytes(report.edges.reduce((sum, edge) => sum + edge.bytes, 0))} in all. These are the reasons.`,
      ),
      reasons(named, state),
      el(
        "div",
        { class: "tools" },
        el("input", {
          type: "search",
          placeholder: "Filter: kernel, value, reason   /",
          "aria-label": "Filter",
          value: state.find || "",
          onchange: (event) => adjust({ find: event.target.value || null }),
        }),
        state.why !== undefined ? el("button", { onclick: () => adjust({ why: null }) }, "All reasons") : "",
        muted(counted(shown.length, "edge")),
      ),
      longTable(
        [
          { title: "from", cell: (edge) => kernelLink(edge.from) },
          { title: "to", cell: (edge) => kernelLink(edge.to) },
          { title: "value", cell: (edge) => brief(edge.value) },
          { title: "bytes", number: true, cell: (edge) => bytes(edge.bytes) },
          { title: "why they are two", cell: (edge) => el("span", { "data-tip": edge.text && `${edge.why}\n${edge.text}` }, edge.why) },
        ],
        [...shown].sort((a, b) => b.bytes - a.bytes),
      ),
    );
  },
};

// Reasons that differ only in numbers and types are one: "the rows differ: ... and ...".
const reasonOf = (edge) =>
  edge.why
    .replace(/%?\b[a-z]+\d*\[[^\]]*\]/g, "…")
    .replace(/'[^']*'|"[^"]*"/g, "…")
    .replace(/%?\d[\d,.]*/g, "…");

const edgeWords = (edge) =>
  [report.kernels[edge.from]?.name, report.kernels[edge.to]?.name, edge.value, edge.why, edge.text].join(" ").toLowerCase();

function reasons(edges, state) {
  const groups = new Map();
  for (const edge of edges) {
    const reason = reasonOf(edge);
    const group = groups.get(reason) || { reason, text: edge.text, count: 0, bytes: 0 };
    groups.set(reason, group);
    group.count += 1;
    group.bytes += edge.bytes;
  }
  const most = Math.max(...[...groups.values()].map((group) => group.bytes), 1);
  return table(
    [
      {
        title: "reason",
        cell: (group) => [
          el(
            "button",
            {
              class: "plain",
              "aria-pressed": String(group.reason === state.why),
              onclick: () => adjust({ why: group.reason === state.why ? null : group.reason }),
            },
            group.reason,
          ),
          " ",
          muted(group.text && group.text !== group.reason ? group.text : ""),
        ],
      },
      { title: "edges", number: true, cell: (group) => thousands(group.count) },
      { title: "bytes", number: true, cell: (group) => [bytes(group.bytes), " ", bar(group.bytes / most)] },
    ],
    [...groups.values()].sort((a, b) => b.bytes - a.bytes),
    { row: (group) => ({ class: group.reason === state.why ? "chosen" : null }) },
  );
}
