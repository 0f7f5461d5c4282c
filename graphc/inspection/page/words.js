// Numbers and short pieces of text as people read them, and the small parts that many views are built of.

const thousands = (value) => Math.round(value).toLocaleString("en-US");

// 1536 -> "1.5 KiB"
function bytes(count) {
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (Math.abs(count) < 1024) return unit === "B" ? `${Math.round(count)} B` : `${count.toFixed(1)} ${unit}`;
    count /= 1024;
  }
  return `${count.toFixed(1)} TiB`;
}

// 1230000 -> "1.23 M"
function amount(count) {
  for (const unit of ["", "k", "M", "G", "T"]) {
    if (Math.abs(count) < 1000) return `${significant(count)}${unit && " " + unit}`;
    count /= 1000;
  }
  return `${significant(count)} P`;
}

function significant(value) {
  if (value === 0) return "0";
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return digits ? String(Number(value.toFixed(Math.min(digits, 6)))) : String(Math.round(value));
}

// Microseconds: 1234 -> "1.23 ms"
function duration(us) {
  if (us && us < 0.1) return `${significant(us * 1e3)} ns`;
  if (us >= 1e6) return `${significant(us / 1e6)} s`;
  return us >= 1e3 ? `${significant(us / 1e3)} ms` : `${significant(us)} µs`;
}

const percent = (part) => `${(100 * part).toFixed(part < 0.0995 ? 1 : 0)}%`;

const counted = (count, one, many = one + "s") => `${thousands(count)} ${count === 1 ? one : many}`;

const shortened = (text, length) => (text.length > length ? text.slice(0, length - 1) + "…" : text);

// The middle of a long name matters less than its ends.
function abridged(text, length) {
  if (text.length <= length) return text;
  const tail = Math.ceil((length - 1) * 0.6);
  return text.slice(0, length - 1 - tail) + "…" + text.slice(-tail);
}

// A value is named by all operations that it is of: the last of them, and how many more. The words beside the pointer say all.
function brief(names) {
  const all = names.split(", ");
  return el(
    "span",
    { class: "nowrap", "data-tip": all.length > 1 ? all.join("\n") : null },
    el("span", { class: "clip" }, all[all.length - 1]),
    all.length > 1 ? muted(` +${all.length - 1}`) : "",
  );
}

// Parts ----------------------------------------------------------------------------------------------------------------------------------

const badge = (kind, text = kind) => el("span", { class: `badge ${kind}` }, text);

const muted = (...children) => el("span", { class: "muted" }, ...children);

// A key figure: what it is, its value, and a word about it.
const figure = (name, value, note = "") =>
  el(
    "div",
    { class: "figure" },
    el("div", { class: "name" }, name),
    el("div", { class: "value" }, value),
    el("div", { class: "note" }, note),
  );

const section = (title, ...children) => el("section", {}, el("h2", {}, title), ...children);

// What stands where there is nothing to show.
const empty = (...words) => el("p", { class: "empty" }, ...words);

// A table. columns: [{title, number, value(row), cell(row)}]; `cell` gives what is shown, `value` what it is sorted by.
function table(columns, rows, options = {}) {
  const heads = columns.map((column, index) => {
    const sorted = options.sort === index || options.sort === -index - 1;
    const mark = sorted ? (options.sort < 0 ? " ↓" : " ↑") : "";
    const head = options.onsort ? el("button", { onclick: () => options.onsort(index) }, column.title + mark) : column.title;
    return el(
      "th",
      {
        class: column.number ? "number" : null,
        "data-tip": column.tip,
        "aria-sort": sorted ? (options.sort < 0 ? "descending" : "ascending") : null,
      },
      head,
    );
  });
  const body = rows.map((row) =>
    el(
      "tr",
      options.row ? options.row(row) : {},
      columns.map((column) =>
        el("td", { class: [column.number ? "number" : "", column.class || ""].join(" ").trim() || null }, column.cell(row)),
      ),
    ),
  );
  return el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, heads)), el("tbody", {}, body)));
}

// At most `limit` rows at first, and a button for the rest: a browser need not lay out ten thousand rows that nobody reads.
function longTable(columns, rows, options = {}, limit = 200) {
  const holder = el("div", {});
  const fill = (shown) => {
    const rest = rows.length - shown;
    holder.replaceChildren(
      table(columns, rows.slice(0, shown), options),
      rest > 0 ? el("button", { class: "more", onclick: () => fill(shown + 1000) }, `${thousands(rest)} more`) : "",
    );
  };
  fill(limit);
  return holder;
}

// A bar as long as its part of the whole.
const bar = (part, kind = "") =>
  el("span", { class: `bar ${kind}` }, el("span", { style: `width:${Math.max(0, Math.min(1, part)) * 100}%` }));

// Buttons of which one is chosen: [[value, label]].
const choice = (key, chosen, options) =>
  el(
    "span",
    { class: "choice", role: "group" },
    options.map(([value, label]) =>
      el("button", { "aria-pressed": String(value === chosen), onclick: () => adjust({ [key]: value }) }, label),
    ),
  );

// A program's, a kernel's or a machine's text, with its comments and words set apart.
const KEYWORDS =
  "program return effects kernel for in out let acc local parallel vector product over times if else " +
  "define load store ret br call fmul fadd getelementptr phi icmp void ptr";
const WORDS = new RegExp(`(//.*|;.*|#.*|"[^"]*")|([%@][\\w.$]+)|\\b(${KEYWORDS.replaceAll(" ", "|")})\\b`, "g");

function code(text, comments = "//") {
  const lines = text
    .replace(/\n$/, "")
    .split("\n")
    .map((line) => el("span", { class: "line" }, coloured(line, comments), "\n"));
  return el("pre", { class: "code" }, lines);
}

function coloured(line, comments) {
  const parts = [];
  let at = 0;
  for (const found of line.matchAll(WORDS)) {
    if (found.index < at) continue;
    const isComment = found[1] && found[1].startsWith(comments);
    const other = found[1] && !isComment && found[1][0] !== '"';
    if (other) continue;
    if (found.index > at) parts.push(line.slice(at, found.index));
    parts.push(el("i", { class: isComment ? "comment" : found[1] ? "text" : found[2] ? "name" : "word" }, found[0]));
    at = found.index + found[0].length;
  }
  parts.push(line.slice(at));
  return parts;
}
