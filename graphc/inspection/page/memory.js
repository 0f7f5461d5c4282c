// The memory map: which bytes of the arena hold what, kernel by kernel; the peak with all that is alive there; variables.

const MAP = { left: 72, right: 12, top: 14, bottom: 30, height: 380 };

const memoryView = {
  title: "Memory",
  render(root, state) {
    const { memory, kernels } = report;
    const at = state.kernel !== undefined && kernels[Number(state.kernel)] ? Number(state.kernel) : memory.peak.at;
    root.append(
      el(
        "div",
        { class: "figures" },
        figure("arena", bytes(memory.arena), "allocated once"),
        figure("least possible", bytes(memory.lower_bound), "the most that is alive at one kernel"),
        figure(
          "unplanned",
          bytes(memory.unplanned),
          memory.arena ? `a buffer for each value: ${significant(memory.unplanned / memory.arena)}× the arena` : "",
        ),
        figure("variables", variableBytes(memory.variables), "written in each run, outside the arena"),
      ),
    );
    if (!memory.buffers.length) root.append(empty("No value has to wait in memory: the arena is empty."));
    else root.append(memoryMap(memory, kernels, at), section("", aliveAt(memory, kernels, at)));
    if (memory.variables.length) root.append(section("Variables", variables(memory.variables)));
  },
};

function memoryMap(memory, kernels, at) {
  const width = Math.max(document.getElementById("view").clientWidth - 64, kernels.length * 3, 600);
  const top = Math.max(memory.arena, memory.lower_bound, 1) * 1.04;
  const x = (kernel) => MAP.left + ((width - MAP.left - MAP.right) * kernel) / Math.max(kernels.length, 1);
  const y = (offset) => MAP.height - MAP.bottom - ((MAP.height - MAP.bottom - MAP.top) * offset) / top;
  const alive = (buffer) => buffer.first <= at && at <= buffer.last;
  const picture = draw("svg", {
    class: "memorymap",
    viewBox: `0 0 ${width} ${MAP.height}`,
    width,
    height: MAP.height,
    role: "img",
    "aria-label": "Memory map",
  });
  picture.append(
    draw("rect", { class: "peak", x: x(at), y: MAP.top, width: x(at + 1) - x(at), height: MAP.height - MAP.bottom - MAP.top }),
  );
  for (const step of steps(memory.arena))
    picture.append(
      draw("line", { class: "grid", x1: MAP.left, x2: width - MAP.right, y1: y(step), y2: y(step) }),
      draw("text", { class: "tick end", x: MAP.left - 7, y: y(step) + 3.5 }, bytes(step)),
    );
  memory.buffers.forEach((buffer, index) => picture.append(bufferBox(buffer, index, kernels, x, y, alive(buffer))));
  const level = (value, name, label) => [
    draw("line", { class: name, x1: MAP.left, x2: width - MAP.right, y1: y(value), y2: y(value) }),
    label && draw("text", { class: `limit ${name}`, x: width - MAP.right, y: y(value) - 4 }, label),
  ];
  picture.append(
    ...level(memory.lower_bound, "bound", `least possible ${bytes(memory.lower_bound)}`).filter(Boolean),
    ...level(memory.arena, "arena", "").filter(Boolean),
  );
  kernels.forEach((kernel, index) =>
    picture.append(
      draw(
        "a",
        { href: hashOf({ view: "memory", kernel: index }) },
        draw("rect", {
          class: "step",
          x: x(index),
          y: MAP.height - MAP.bottom,
          width: x(1) - x(0),
          height: 14,
          "data-tip": `${index}: ${kernel.name}\n${kernel.lines.slice(0, 3).join(", ")}`,
        }),
      ),
    ),
  );
  picture.append(
    draw("text", { class: "tick", x: MAP.left, y: MAP.height - 4 }, `${counted(kernels.length, "kernel")} in the order of the run →`),
  );
  return el("div", { class: "scroll" }, picture);
}

// A few round offsets up to the arena's size.
function steps(arena) {
  const each = 2 ** Math.ceil(Math.log2(Math.max(arena, 1) / 8));
  return Array.from({ length: Math.floor(arena / each) + 1 }, (_, index) => index * each);
}

function bufferBox(buffer, index, kernels, x, y, isAlive) {
  const name = (number) => (kernels[number] ? kernels[number].name : "");
  const words = [
    buffer.values.map((value) => value.split(", ").pop()).join(", then "),
    `${bytes(buffer.size)} at ${thousands(buffer.offset)}`,
    `kernels ${buffer.first} to ${buffer.last}: ${name(buffer.first)} … ${name(buffer.last)}`,
    buffer.lines.slice(0, 4).join(", "),
  ];
  const [left, right, low, high] = [x(buffer.first), x(buffer.last + 1), y(buffer.offset), y(buffer.offset + buffer.size)];
  const box = draw("rect", {
    class: `buffer ${isAlive ? "alive" : ""}`,
    x: left + 0.5,
    y: high,
    width: Math.max(right - left - 1, 0.8),
    height: Math.max(low - high - 0.5, 0.6),
    rx: 1.5,
    "data-tip": words.join("\n"),
    "data-buffer": index,
  });
  const roomy = right - left > 60 && low - high > 13;
  const label = roomy
    ? draw(
        "text",
        { class: "buffer-name", x: left + 5, y: (low + high) / 2 + 3.5 },
        abridged((buffer.values[0] || "").split(", ").pop(), Math.floor((right - left - 8) / 6)),
      )
    : "";
  return draw("g", {}, box, label);
}

// What is alive while one kernel runs, largest first.
function aliveAt(memory, kernels, at) {
  const rows = memory.buffers.filter((buffer) => buffer.first <= at && at <= buffer.last).sort((a, b) => b.size - a.size);
  const total = rows.reduce((sum, buffer) => sum + buffer.size, 0);
  const isPeak = at === memory.peak.at;
  return el(
    "div",
    {},
    el(
      "h2",
      {},
      isPeak ? "Alive at the peak" : "Alive",
      " ",
      muted("while "),
      kernelLink(at),
      muted(` runs: ${bytes(total)}`),
      isPeak ? "" : [" · ", link({ view: "memory" }, "to the peak")],
    ),
    table(
      [
        { title: "value", cell: (buffer) => buffer.values.map((value) => el("div", {}, brief(value))) },
        { title: "size", number: true, cell: (buffer) => [bytes(buffer.size), " ", bar(buffer.size / (total || 1))] },
        { title: "offset", number: true, cell: (buffer) => thousands(buffer.offset) },
        { title: "from", cell: (buffer) => kernelLink(buffer.first) },
        { title: "to", cell: (buffer) => kernelLink(buffer.last) },
        { title: "lines", cell: (buffer) => some(buffer.lines.map(lineLink), 2), class: "nowrap" },
      ],
      rows,
    ),
  );
}

const variableBytes = (variables) =>
  variables.every((variable) => variable.bytes !== undefined)
    ? bytes(variables.reduce((sum, variable) => sum + variable.bytes, 0))
    : thousands(variables.length);

const variables = (rows) =>
  longTable(
    [
      { title: "variable", cell: (variable) => variable.name },
      { title: "bytes", number: true, cell: (variable) => (variable.bytes === undefined ? "" : bytes(variable.bytes)) },
      {
        title: "how it is written",
        cell: (variable) => (variable.in_place ? muted("in place") : badge("copied", "copied at the end of the run")),
      },
    ],
    [...rows].sort((a, b) => (b.bytes || 0) - (a.bytes || 0)),
  );
