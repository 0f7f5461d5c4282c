// The roofline: every kernel by its flops a byte and the rate that it reaches, under what the machine could do at most.

const ROOF = { width: 1080, height: 320, left: 54, right: 16, top: 14, bottom: 38 };

function roofline(kernels) {
  const points = kernels
    .filter((kernel) => kernel.bytes && kernel.flops && timeOf(kernel))
    .map((kernel) => ({ kernel, x: intensity(kernel), y: kernel.flops / timeOf(kernel) / 1e3 }));
  if (!points.length) return empty("No kernel computes anything that could be set against the machine.");
  const machine = report.machine;
  const ridge = machine ? machine.gflops / machine.gbs : 1;
  const across = decades([...points.map((p) => p.x), ridge / 4, ridge * 4]);
  const up = decades([...points.map((p) => p.y), ...(machine ? [machine.gflops] : [])]);
  const x = scale(across, ROOF.left, ROOF.width - ROOF.right);
  const y = scale(up, ROOF.height - ROOF.bottom, ROOF.top);
  const picture = draw(
    "svg",
    { class: "roofline", viewBox: `0 0 ${ROOF.width} ${ROOF.height}`, role: "img", "aria-label": "Roofline" },
    ...grid(across, up, x, y),
  );
  if (machine) picture.append(...roof(machine, across, up, x, y));
  const longest = Math.max(...points.map((p) => timeOf(p.kernel)));
  for (const { kernel, x: at, y: rate } of points) {
    const radius = 3 + 9 * Math.sqrt(timeOf(kernel) / longest);
    picture.append(
      draw(
        "a",
        { href: hashOf({ ...kernelState(), kernel: kernel.index }) },
        draw("circle", {
          class: kindClass(kernel),
          cx: x(at),
          cy: y(rate),
          r: radius.toFixed(1),
          "data-tip": pointWords(kernel, at, rate),
        }),
      ),
    );
  }
  const note = machine
    ? `The lines are what ${counted(machine.cores, "core")} of this machine can do at most`
    : "The machine's limits were not measured";
  return el("figure", {}, picture, el("figcaption", { class: "muted" }, `Area: time, ${measured() ? "measured" : "estimated"}. ${note}.`));
}

const pointWords = (kernel, at, rate) =>
  [
    kernel.name,
    `${significant(rate)} GFLOP/s at ${significant(at)} flop a byte`,
    `${duration(timeOf(kernel))}, ${bytes(kernel.bytes)} moved`,
    kernel.lines.slice(0, 3).join(", "),
  ].join("\n");

// What part of the machine's best a kernel reaches, and which limit it meets first.
function limitWords(kernel) {
  const { gflops, gbs } = report.machine;
  const us = timeOf(kernel);
  if (!us) return null;
  const rates = [kernel.flops / us / 1e3, kernel.bytes / us / 1e3];
  const limit = bandwidth(kernel.bytes);
  const byMemory = intensity(kernel) < gflops / limit;
  const where = limit === gbs ? "memory" : "the cache";
  const part = percent(byMemory ? rates[1] / limit : rates[0] / gflops);
  return `${significant(rates[0])} GFLOP/s and ${significant(rates[1])} GB/s: ${part} of what ${byMemory ? where : "arithmetic"} allows`;
}

// GB/s where so many bytes move: in a cache if they fit. machine.copies: [[bytes read, GB/s]], smallest first.
function bandwidth(moved) {
  const { copies, gbs } = report.machine;
  const fits = (copies || []).find(([size]) => 2 * size >= moved);
  return fits ? Math.max(fits[1], gbs) : gbs;
}

// Whole powers of ten around all values: [low, high] exponents.
function decades(values) {
  const low = Math.floor(Math.log10(Math.min(...values)));
  const high = Math.ceil(Math.log10(Math.max(...values)) + 1e-9);
  return [low, Math.max(high, low + 1)];
}

const scale =
  ([low, high], from, to) =>
  (value) =>
    from + ((Math.log10(value) - low) / (high - low)) * (to - from);

function grid(across, up, x, y) {
  const parts = [];
  const [bottom, top] = [ROOF.height - ROOF.bottom, ROOF.top];
  for (let e = across[0]; e <= across[1]; e += 1) {
    parts.push(
      draw("line", { class: "grid", x1: x(10 ** e), x2: x(10 ** e), y1: top, y2: bottom }),
      draw("text", { class: "tick middle", x: x(10 ** e), y: bottom + 15 }, power(e)),
    );
  }
  for (let e = up[0]; e <= up[1]; e += 1) {
    parts.push(
      draw("line", { class: "grid", x1: ROOF.left, x2: ROOF.width - ROOF.right, y1: y(10 ** e), y2: y(10 ** e) }),
      draw("text", { class: "tick end", x: ROOF.left - 7, y: y(10 ** e) + 3.5 }, power(e)),
    );
  }
  parts.push(
    draw("text", { class: "tick middle", x: (ROOF.left + ROOF.width - ROOF.right) / 2, y: ROOF.height - 6 }, "flop a byte"),
    draw("text", { class: "tick middle", transform: `translate(12 ${(top + bottom) / 2}) rotate(-90)` }, "GFLOP/s"),
  );
  return parts;
}

const power = (exponent) => (exponent >= -2 && exponent <= 4 ? String(Number((10 ** exponent).toFixed(2))) : `1e${exponent}`);

// The limits: arithmetic's level, and the slopes of memory and of the fastest cache up to it.
function roof(machine, across, up, x, y) {
  const fastest = Math.max(machine.gbs, ...(machine.copies || []).map(([, gbs]) => gbs));
  const tilt = (-Math.atan2(y(1) - y(10), x(10) - x(1)) * 180) / Math.PI; // of a line along which both numbers grow alike
  const slope = (gbs, name, words) => {
    const start = Math.max(10 ** across[0], 10 ** up[0] / gbs);
    const ridge = machine.gflops / gbs;
    return [
      draw("path", { class: name, d: `M${x(start)},${y(start * gbs)}L${x(ridge)},${y(machine.gflops)}` }),
      draw(
        "text",
        {
          class: "limit",
          transform: `translate(${x(start) + 10} ${y(start * gbs) - 9}) rotate(${tilt})`,
        },
        words,
      ),
    ];
  };
  const level = Math.min(machine.gflops / fastest, 10 ** across[1]);
  return [
    draw("path", { class: "roof", d: `M${x(level)},${y(machine.gflops)}L${x(10 ** across[1])},${y(machine.gflops)}` }),
    draw(
      "text",
      { class: "limit end", x: ROOF.width - ROOF.right - 4, y: y(machine.gflops) - 5 },
      `${significant(machine.gflops)} GFLOP/s`,
    ),
    ...slope(machine.gbs, "roof", `${significant(machine.gbs)} GB/s`),
    ...(fastest > machine.gbs * 1.2 ? slope(fastest, "roof cache", `${significant(fastest)} GB/s in cache`) : []),
  ];
}
