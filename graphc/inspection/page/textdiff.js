// Two program texts line against line. Nodes are numbered anew by every pass, so lines are compared without their numbers, and without the
// comments that say where they come from; both are shown.

const CONTEXT = 3; // lines around a change that are shown

async function textDiff(root, stage, state) {
  const before = (await contents(previous(stage))).text.split("\n");
  const after = (await contents(stage)).text.split("\n");
  const unified = state.lines === "unified";
  root.querySelector(".tools").append(
    choice("lines", unified ? "unified" : "split", [
      ["split", "Side by side"],
      ["unified", "Unified"],
    ]),
    muted("compared without the numbers of nodes and the comments"),
  );
  const rows = aligned(before.map(unnumbered), after.map(unnumbered));
  root.append(el("div", { class: `textdiff ${unified ? "unified" : "split"}` }, ...hunks(rows, before, after, unified)));
}

const unnumbered = (line) => line.replace(/ {2}\/\/ .*$/, "").replace(/%\d+/g, "%");

// [{old, new}] line numbers of both texts in order; -1 where one of them has no such line.
function aligned(a, b) {
  const rows = [];
  const walk = (a0, a1, b0, b1) => {
    while (a0 < a1 && b0 < b1 && a[a0] === b[b0]) rows.push({ old: a0++, new: b0++ });
    let tail = 0;
    while (a0 < a1 - tail && b0 < b1 - tail && a[a1 - 1 - tail] === b[b1 - 1 - tail]) tail += 1;
    between(a0, a1 - tail, b0, b1 - tail);
    for (let i = tail; i > 0; i -= 1) rows.push({ old: a1 - i, new: b1 - i });
  };
  const between = (a0, a1, b0, b1) => {
    const anchors = a0 < a1 && b0 < b1 ? increasing(uniquePairs(a, a0, a1, b, b0, b1)) : [];
    if (anchors.length) {
      for (const [i, j] of anchors) {
        walk(a0, i, b0, j);
        rows.push({ old: i, new: j });
        [a0, b0] = [i + 1, j + 1];
      }
      return walk(a0, a1, b0, b1);
    }
    if ((a1 - a0) * (b1 - b0) > 0 && (a1 - a0) * (b1 - b0) <= 250000) return small(a0, a1, b0, b1);
    for (let i = a0; i < a1; i += 1) rows.push({ old: i, new: -1 });
    for (let j = b0; j < b1; j += 1) rows.push({ old: -1, new: j });
  };
  // The longest common subsequence, for stretches without a unique line.
  const small = (a0, a1, b0, b1) => {
    const width = b1 - b0 + 1;
    const best = new Int32Array((a1 - a0 + 1) * width);
    for (let i = a1 - a0 - 1; i >= 0; i -= 1) {
      for (let j = width - 2; j >= 0; j -= 1) {
        best[i * width + j] =
          a[a0 + i] === b[b0 + j] ? best[(i + 1) * width + j + 1] + 1 : Math.max(best[(i + 1) * width + j], best[i * width + j + 1]);
      }
    }
    let [i, j] = [0, 0];
    while (i < a1 - a0 || j < b1 - b0) {
      if (i < a1 - a0 && j < b1 - b0 && a[a0 + i] === b[b0 + j]) rows.push({ old: a0 + i++, new: b0 + j++ });
      else if (i < a1 - a0 && (j === b1 - b0 || best[(i + 1) * width + j] >= best[i * width + j + 1]))
        rows.push({ old: a0 + i++, new: -1 });
      else rows.push({ old: -1, new: b0 + j++ });
    }
  };
  walk(0, a.length, 0, b.length);
  return rows;
}

// Lines that stand exactly once on each side: [[old, new]] in the order of the old text.
function uniquePairs(a, a0, a1, b, b0, b1) {
  const once = (lines, from, to) => {
    const at = new Map();
    for (let i = from; i < to; i += 1) at.set(lines[i], at.has(lines[i]) ? -1 : i);
    return at;
  };
  const inNew = once(b, b0, b1);
  return [...once(a, a0, a1)].filter(([text, i]) => i >= 0 && inNew.get(text) >= 0).map(([text, i]) => [i, inNew.get(text)]);
}

// The longest run of pairs whose second numbers increase.
function increasing(pairs) {
  const ends = []; // the pair that ends the best run of each length
  const before = new Map();
  for (const pair of pairs) {
    let [low, high] = [0, ends.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (ends[middle][1] < pair[1]) low = middle + 1;
      else high = middle;
    }
    before.set(pair, ends[low - 1]);
    ends[low] = pair;
  }
  const run = [];
  for (let pair = ends[ends.length - 1]; pair; pair = before.get(pair)) run.unshift(pair);
  return run;
}

// Rows to show: changes with a few lines around them; what lies between is folded, and opens at a click.
function* hunks(rows, before, after, unified) {
  const near = new Uint8Array(rows.length);
  rows.forEach((row, index) => {
    if (row.old >= 0 && row.new >= 0) return;
    for (let i = Math.max(0, index - CONTEXT); i <= Math.min(rows.length - 1, index + CONTEXT); i += 1) near[i] = 1;
  });
  for (let from = 0; from < rows.length;) {
    let to = from;
    while (to < rows.length && near[to] === near[from]) to += 1;
    const part = rows.slice(from, to);
    const lines = () =>
      unified ? part.flatMap((row) => unifiedRow(row, before, after)) : paired(part).map((row) => splitRow(row, before, after));
    yield near[from] ? el("div", { class: "hunk" }, lines()) : foldedLines(part.length, lines);
    from = to;
  }
}

function foldedLines(count, lines) {
  const button = el(
    "button",
    { class: "unchanged", onclick: () => button.replaceWith(el("div", { class: "hunk" }, lines())) },
    `⋯ ${counted(count, "unchanged line")}`,
  );
  return button;
}

// Removed and added lines of one stretch stand beside each other.
function paired(rows) {
  const made = [];
  let [olds, news] = [[], []];
  const flush = () => {
    for (let i = 0; i < Math.max(olds.length, news.length); i += 1) made.push({ old: olds[i] ?? -1, new: news[i] ?? -1, changed: true });
    [olds, news] = [[], []];
  };
  for (const row of rows) {
    if (row.old >= 0 && row.new >= 0) {
      flush();
      made.push(row);
    } else if (row.old >= 0) olds.push(row.old);
    else news.push(row.new);
  }
  flush();
  return made;
}

// A line with its comment in grey.
function explained(line) {
  const at = line.indexOf("  // ");
  return at < 0 ? line : [line.slice(0, at), el("span", { class: "why" }, line.slice(at))];
}

function splitRow(row, before, after) {
  const side = (text, number, kind) => [
    el("span", { class: "number" }, number >= 0 ? String(number + 1) : ""),
    el("span", { class: number < 0 ? "nothing" : kind }, number >= 0 ? explained(text[number]) : ""),
  ];
  return el(
    "div",
    { class: "pair" },
    side(before, row.old, row.changed ? "removed" : ""),
    side(after, row.new, row.changed ? "added" : ""),
  );
}

function unifiedRow(row, before, after) {
  const line = (mark, text, kind) =>
    el("div", { class: `only ${kind}` }, el("span", { class: "number" }, mark), el("span", {}, explained(text)));
  if (row.old >= 0 && row.new >= 0) return [line(" ", after[row.new], "")];
  return [row.old >= 0 ? line("−", before[row.old], "removed") : line("+", after[row.new], "added")];
}
