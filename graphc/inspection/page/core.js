// The ground that every view stands on: elements made safely, blocks of data unpacked on demand, and the state that lives in the address.
//
// Nothing here ever parses text as HTML: what users named reaches the page as text nodes only.

const SVG = "http://www.w3.org/2000/svg";

// An element: `el("a", {class: "x", onclick: f}, "text", child, [more])`. Attributes that are null or false are left out.
function el(tag, attributes = {}, ...children) {
  return furnish(document.createElement(tag), attributes, children);
}

// The same for pictures.
function draw(tag, attributes = {}, ...children) {
  return furnish(document.createElementNS(SVG, tag), attributes, children);
}

function furnish(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// Blocks of data ------------------------------------------------------------------------------------------------------------------------

const unpacked = new Map();

// The text of a block, a promise. Base64 of zlib's format, as `graphc/inspection/report.py` packs it.
function block(name) {
  if (!unpacked.has(name)) unpacked.set(name, unpack(document.querySelector(`script[data-block="${name}"]`).textContent));
  return unpacked.get(name);
}

async function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).text();
}

let piece = 0; // of a compilation for several devices, or in stages: the one that is shown
const parsed = new Map();

// A block of the piece that is shown, as data.
const json = (name) => whole(`${piece}-${name}`);

function whole(name) {
  if (!parsed.has(name)) parsed.set(name, block(name).then(JSON.parse));
  return parsed.get(name);
}

// A vendored library, run when first needed: `await library("dagre")` gives the global that it defines.
async function library(name) {
  if (!(name in window)) {
    const text = await block(`library-${name}`);
    if (!(name in window)) document.head.append(el("script", {}, text));
  }
  return window[name];
}

// State: what is looked at, in the address, so that every view can be linked to ---------------------------------------------------------

let state = {};

function parseHash(hash) {
  return Object.fromEntries(new URLSearchParams(hash.replace(/^#/, "")));
}

// The address of `changes` applied to a state. A key set to null goes away.
function hashOf(changes, base = {}) {
  const merged = Object.entries({ ...base, ...changes, piece: piece || null }).filter(
    ([, value]) => value !== null && value !== undefined && value !== "",
  );
  return "#" + new URLSearchParams(merged.map(([key, value]) => [key, String(value)]));
}

// Goes to a view that says all of its state.
function visit(target) {
  show(hashOf(target));
}

// Changes a part of the state of this view.
function adjust(changes, step = true) {
  show(hashOf(changes, state), step);
}

// step: whether the browser's "back" returns to what was shown before.
function show(hash, step = true) {
  state = parseHash(hash);
  try {
    if (step) history.pushState(null, "", hash);
    else history.replaceState(null, "", hash);
  } catch {
    // A page inside a notebook has no address of its own; the state above is enough.
  }
  refresh();
}

// A link to a view; text may be an element.
function link(target, ...children) {
  return el("a", { href: hashOf(target) }, ...children);
}

// Listeners that every view shares -------------------------------------------------------------------------------------------------------

function listen() {
  document.addEventListener("click", (event) => {
    const anchor = event.target.closest && event.target.closest('a[href^="#"]');
    if (!anchor || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault(); // by hand, since a link inside a notebook's frame would leave the frame
    show(anchor.getAttribute("href"));
  });
  window.addEventListener("popstate", () => {
    state = parseHash(location.hash);
    refresh();
  });
  document.addEventListener("mouseover", (event) => {
    const about = event.target.closest && event.target.closest("[data-tip]");
    if (about) tip(about.getAttribute("data-tip"), event);
    else tip("");
  });
  document.addEventListener("mousemove", (event) => placeTip(event));
}

// The words beside the pointer: lines of plain text. Nothing hides them.
function tip(text, event) {
  const box = document.getElementById("tip");
  box.hidden = !text;
  if (!text) return;
  const [first, ...rest] = text.split("\n");
  box.replaceChildren(el("strong", {}, first), ...rest.map((line) => el("div", {}, line)));
  if (event) placeTip(event);
}

function placeTip(event) {
  const box = document.getElementById("tip");
  if (box.hidden) return;
  const left = Math.min(event.clientX + 14, window.innerWidth - box.offsetWidth - 8);
  const below = event.clientY + 18;
  box.style.left = `${Math.max(8, left)}px`;
  box.style.top = `${below + box.offsetHeight > window.innerHeight ? event.clientY - box.offsetHeight - 12 : below}px`;
}

// Copies of a state's list: "a,b" with every part escaped, since a scope may be called anything.
const listOf = (text) => (text ? text.split(",").map(decodeURIComponent) : []);
const textOf = (list) => list.map(encodeURIComponent).join(",");

// One colour of the theme, by the name of its variable.
const themed = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
