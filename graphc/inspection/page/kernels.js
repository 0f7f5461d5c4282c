// Every kernel of a run: a table to sort, the roofline, and a panel with the code of one.

const KERNEL_COLUMNS = [
  {
    title: "kernel",
    value: (k) => k.index,
    cell: (k) => [
      el("i", { class: `swatch ${kindClass(k)}` }),
      el("a", { href: hashOf({ ...kernelState(), kernel: k.index }), class: "clip", "data-tip": k.name }, k.name),
    ],
    class: "nowrap",
  },
  { title: "kind", value: (k) => k.kind, cell: (k) => el("span", { class: "clip short" }, k.kind) },
  {
    title: "share",
    number: true,
    value: timeOf,
    cell: (k) => [percent(timeOf(k) / (totalTime() || 1)), " ", bar(timeOf(k) / (totalTime() || 1), "time")],
  },
  {
    title: "measured",
    number: true,
    value: (k) => k.measured_us ?? -1,
    cell: (k) => (k.measured_us === null || k.measured_us === undefined ? muted("–") : duration(k.measured_us)),
  },
  {
    title: "estimate",
    number: true,
    value: (k) => k.microseconds,
    cell: (k) => duration(k.microseconds),
    tip: "for one core, when it was compiled",
  },
  { title: "flop", number: true, value: (k) => k.flops, cell: (k) => amount(k.flops) },
  { title: "moved", number: true, value: (k) => k.bytes, cell: (k) => bytes(k.bytes) },
  { title: "flop/byte", number: true, value: intensity, cell: (k) => significant(intensity(k)), tip: "arithmetic intensity" },
  {
    title: "lines",
    value: (k) => k.lines[0] || "",
    cell: (k) => [k.lines.length ? lineLink(k.lines[0]) : "", k.lines.length > 1 ? muted(` +${k.lines.length - 1}`) : ""],
    class: "nowrap",
  },
  {
    title: "operations",
    value: (k) => k.operations.length,
    cell: (k) => brief(k.operations.map((index) => report.operations[index].name).join(", ")),
  },
];

function intensity(kernel) {
  return kernel.bytes ? kernel.flops / kernel.bytes : 0;
}

// The state that a link inside this view keeps.
const kernelState = () => ({ view: "kernels", sort: state.sort, find: state.find, code: state.code });

const kernelsView = {
  title: "Kernels",
  key: (state) => JSON.stringify([state.sort, state.find]),
  async render(root, state) {
    const sort = Number(state.sort || 0); // 3: by the third column; -3: the same, largest first
    const wanted = (state.find || "").toLowerCase();
    const all = report.kernels.map((kernel, index) => ({ ...kernel, index }));
    const rows = all.filter((kernel) => !wanted || kernelWords(kernel).includes(wanted));
    const column = KERNEL_COLUMNS[Math.abs(sort) - 1];
    if (column)
      rows.sort(
        (a, b) =>
          Math.sign(sort) * (column.value(a) < column.value(b) ? -1 : column.value(a) > column.value(b) ? 1 : 0) || a.index - b.index,
      );
    const flip = (index) =>
      adjust({
        sort:
          state.sort === String(-index - 1)
            ? index + 1
            : KERNEL_COLUMNS[index].number
              ? -index - 1
              : state.sort === String(index + 1)
                ? -index - 1
                : index + 1,
      });
    root.append(
      roofline(all),
      el(
        "div",
        { class: "tools" },
        el("input", {
          type: "search",
          placeholder: "Filter: name, operation, line, kind   /",
          "aria-label": "Filter",
          value: state.find || "",
          onchange: (event) => adjust({ find: event.target.value || null }),
        }),
        muted(counted(rows.length, "kernel")),
      ),
      rows.length
        ? longTable(KERNEL_COLUMNS, rows, {
            sort: sort > 0 ? sort - 1 : sort < 0 ? sort : null,
            onsort: flip,
            row: (kernel) => ({ "data-kernel": kernel.index }),
          })
        : empty("No kernel."),
    );
    const follow = async (now) => {
      const index = now.kernel === undefined ? null : Number(now.kernel);
      for (const row of root.querySelectorAll("[data-kernel]"))
        row.classList.toggle("chosen", Number(row.getAttribute("data-kernel")) === index);
      if (index !== null && report.kernels[index]) openPanel(() => adjust({ kernel: null }), await kernelPanel(index, now.code || "text"));
      else closePanel();
    };
    await follow(state);
    return follow;
  },
};

const kernelWords = (kernel) =>
  [kernel.name, kernel.kind, ...kernel.lines, ...kernel.operations.map((index) => report.operations[index].name)].join(" ").toLowerCase();

// Everything known of a kernel.
async function kernelPanel(index, shown) {
  const kernel = report.kernels[index];
  const codes = await codeOf(index);
  const limits = report.machine && kernel.bytes ? limitWords(kernel) : null;
  const language = report.target === "cpu" ? "LLVM" : "CUDA C";
  const rows = [
    ["kind", [kernel.kind, kernel.parallel ? ", shared by threads" : ", on one thread"]],
    ["work", `${amount(kernel.flops)}flop, ${bytes(kernel.bytes)} moved, ${significant(intensity(kernel))} flop a byte`],
    [
      "time",
      [
        kernel.measured_us === null || kernel.measured_us === undefined ? "" : `${duration(kernel.measured_us)} measured, `,
        `${duration(kernel.microseconds)} estimated`,
      ],
    ],
    limits && ["reaches", limits],
    ["reads", valueList(kernel.reads, true)],
    ["writes", valueList(kernel.writes, false)],
    [
      "lines",
      kernel.lines.length ? kernel.lines.map((line) => el("div", {}, lineLink(line), " ", el("code", {}, lineText(line)))) : muted("none"),
    ],
  ].filter(Boolean);
  const text = codes[shown] || "";
  return el(
    "div",
    { class: "about" },
    el("h3", {}, kernel.name),
    el(
      "dl",
      {},
      rows.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]),
    ),
    el(
      "details",
      {},
      el("summary", {}, counted(kernel.operations.length, "operation")),
      kernel.operations.slice(0, 100).map(operationCard),
    ),
    el(
      "p",
      {},
      link({ view: "edges", find: kernel.name }, "Why it is a kernel of its own"),
      " · ",
      link({ view: "memory", kernel: index }, "what is alive beside it"),
    ),
    el(
      "div",
      { class: "tools" },
      choice("code", shown, [
        ["text", "Kernel IR"],
        ["code", language],
        ["assembly", "Assembly"],
      ]),
      text ? muted(counted(text.split("\n").length, "line")) : "",
    ),
    text
      ? code(text, { text: "//", code: language === "LLVM" ? ";" : "//", assembly: "#" }[shown])
      : empty("This text is not in the report."),
  );
}

function valueList(values, isRead) {
  if (!values.length) return muted("nothing");
  const item = (value) =>
    el(
      "div",
      {},
      brief(value.value),
      " ",
      muted(bytes(value.bytes)),
      isRead && value.from !== null && value.from !== undefined ? [muted(" from "), kernelLink(value.from)] : "",
    );
  return values.length > 12 ? [...values.slice(0, 12).map(item), muted(`and ${values.length - 12} more`)] : values.map(item);
}
