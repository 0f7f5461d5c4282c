// The page itself: tabs, keys, and the one function that draws what the address asks for. Last of the scripts: it starts the page.
//
// A view is {title, key(state), render(root, state)}; `render` may give a function that follows smaller changes of the state, called for
// as long as `key` says that the view is the same. When a view has been drawn, the page's root element says so in data-ready, for tests
// and for printing.

const VIEWS = {
  overview,
  graph: graphView,
  diff: diffView,
  kernels: kernelsView,
  edges: edgesView,
  memory: memoryView,
  timeline: timelineView,
  source: sourceView,
};

let drawn = { key: null, follow: null };
let drawing = Promise.resolve();

// Draws the state, one at a time: a view that is still unpacking its data is finished first.
function refresh() {
  drawing = drawing.then(drawState);
}

async function drawState() {
  const root = document.documentElement;
  root.removeAttribute("data-ready");
  try {
    await drawView();
  } catch (error) {
    drawn = { key: null, follow: null };
    document.getElementById("view").replaceChildren(empty(`This view could not be drawn: ${error.message}`));
    console.error(error);
  }
  root.setAttribute("data-ready", state.view || "overview");
  if (!root.hasAttribute("data-ms")) root.setAttribute("data-ms", Math.round(performance.now()));
}

async function drawView() {
  await choosePiece();
  const name = state.view in VIEWS ? state.view : "overview";
  const view = VIEWS[name];
  const key = `${piece} ${name} ${view.key ? view.key(state) : JSON.stringify(state)}`;
  if (key === drawn.key && drawn.follow) return void (await drawn.follow(state));
  tip("");
  for (const tab of document.querySelectorAll("#tabs a")) tab.toggleAttribute("aria-current", tab.dataset.view === name);
  closePanel();
  const holder = document.getElementById("view");
  holder.className = `view-${name}`;
  holder.replaceChildren();
  const sameView = drawn.key && drawn.key.startsWith(`${piece} ${name} `);
  drawn = { key, follow: await view.render(holder, state) };
  if (!sameView) window.scrollTo(0, 0);
}

// The panel beside a view: everything known of one thing.
function openPanel(close, ...content) {
  const panel = document.getElementById("panel");
  panel.hidden = false;
  panel.replaceChildren(el("button", { class: "close", "aria-label": "Close", onclick: close }, "×"), ...content);
  panel.scrollTop = 0;
}

function closePanel() {
  document.getElementById("panel").hidden = true;
}

const KEYS = {
  "/": () => document.querySelector("#view input[type=search]")?.focus(),
  Escape: () =>
    document.activeElement.matches("input, select")
      ? document.activeElement.blur()
      : document.querySelector("#panel:not([hidden]) .close")?.click(),
  n: () => document.querySelector("#view .next")?.click(),
  p: () => document.querySelector("#view .previous")?.click(),
};

function pressed(event) {
  const typing = event.target.matches("input, select, textarea");
  if (event.ctrlKey || event.metaKey || event.altKey || (typing && event.key !== "Escape")) return;
  const names = Object.keys(VIEWS);
  const action = KEYS[event.key] || (/^[1-8]$/.test(event.key) ? () => visit({ view: names[Number(event.key) - 1] }) : null);
  if (!action) return;
  event.preventDefault();
  action();
}

// Of a compilation in pieces: the one that the address names. Links keep it (see `hashOf`).
async function choosePiece() {
  const wanted = Number(state.piece || 0);
  if (report && wanted === piece) return;
  piece = wanted < pieces.names.length ? wanted : 0;
  report = await json("head");
  document
    .querySelector("h1")
    .replaceChildren(pieces.title, " ", muted([report.target, report.version && `graphc ${report.version}`].filter(Boolean).join(" · ")));
  const tabs = Object.entries(VIEWS).map(([name, view], index) =>
    el("a", { href: hashOf({ view: name }), "data-view": name, title: `${view.title} (${index + 1})` }, view.title),
  );
  document.getElementById("tabs").replaceChildren(...tabs);
  if (pieces.whole) return;
  document.querySelector("h1").append(
    el(
      "select",
      { "aria-label": "Piece", onchange: (event) => show(`#piece=${event.target.value}`) },
      pieces.names.map((name, index) => el("option", { value: index, selected: index === piece }, name)),
    ),
  );
}

let pieces = null; // {title, names, whole}

async function start() {
  pieces = await whole("pieces");
  listen();
  document.addEventListener("keydown", pressed);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    drawn = { key: null, follow: null };
    refresh();
  });
  state = parseHash(location.hash);
  refresh();
}

start();
