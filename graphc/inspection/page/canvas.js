// The picture of a graph: cytoscape draws on a canvas what `tree.js` unfolded and `layout.js` placed.

// Colours by hand, few and calm; `report.css` has them for light and dark.
const FAMILY_COLOURS = Object.fromEntries(FAMILIES.map(([name]) => [name, `family-${name}`]));
const STATUS_COLOURS = { added: "added", removed: "removed", replaced: "replaced", rebuilt: "rebuilt", fused: "fused" };

// A colour for the nth of many things: neighbours in number are far apart in hue.
const nthColour = (number) => `hsl(${(number * 137.5 + 205) % 360}, ${dark() ? "38%, 34%" : "52%, 86%"})`;

const dark = () => matchMedia("(prefers-color-scheme: dark)").matches;

function canvasStyle() {
  const ink = themed("ink");
  const font = getComputedStyle(document.body).fontFamily;
  return [
    {
      selector: "node",
      style: {
        shape: "round-rectangle",
        "corner-radius": 5,
        width: "data(width)",
        height: "data(height)",
        "background-color": "data(colour)",
        "border-width": 1,
        "border-color": "data(edge)",
        label: "data(label)",
        "text-wrap": "wrap",
        "text-valign": "center",
        "text-halign": "center",
        "font-size": 11.5,
        "font-family": font,
        color: ink,
        "line-height": 1.25,
        "min-zoomed-font-size": 5,
      },
    },
    {
      selector: "node.folded",
      style: { "border-width": 1.5, "border-style": "solid", "font-weight": 600, shape: "round-rectangle", "corner-radius": 10 },
    },
    {
      selector: "node.around",
      style: {
        "background-color": themed("scope"),
        "background-opacity": 0.55,
        "border-color": themed("line"),
        "text-valign": "top",
        "text-margin-y": -3,
        padding: `${PADDING}px`,
        color: themed("muted"),
        "font-size": 12,
        "text-wrap": "ellipsis",
        "text-max-width": "data(room)",
        "compound-sizing-wrt-labels": "exclude",
        "font-weight": 600,
        "min-zoomed-font-size": 6,
        "corner-radius": 8,
      },
    },
    { selector: "node.gone", style: { "border-style": "dashed" } },
    { selector: "node.found", style: { "border-color": themed("accent"), "border-width": 2.5 } },
    { selector: "node.chosen", style: { "border-color": themed("accent"), "border-width": 3.5 } },
    { selector: "node.faint", style: { opacity: 0.45 } },
    {
      selector: "edge",
      style: {
        width: "data(width)",
        "line-color": themed("edge"),
        "target-arrow-color": themed("edge"),
        "target-arrow-shape": "triangle",
        "arrow-scale": 0.75,
        "curve-style": "bezier",
        label: "data(label)",
        "font-size": 9.5,
        "font-family": font,
        color: themed("muted"),
        "text-background-color": themed("paper"),
        "text-background-opacity": 0.85,
        "text-background-padding": 1.5,
        "min-zoomed-font-size": 6,
      },
    },
    {
      selector: "edge.routed",
      style: {
        "curve-style": "round-segments",
        "segment-distances": "data(distances)",
        "segment-weights": "data(weights)",
        "segment-radii": 16,
        "edge-distances": "node-position",
      },
    },
    { selector: "edge.far", style: { opacity: 0.5 } },
    {
      selector: "edge.becomes",
      style: {
        "line-style": "dashed",
        "line-color": themed("replaced-ink"),
        "target-arrow-color": themed("replaced-ink"),
        "arrow-scale": 1,
      },
    },
    { selector: "edge.near", style: { "line-color": themed("accent"), "target-arrow-color": themed("accent"), opacity: 1, "z-index": 9 } },
  ];
}

// A picture in `holder`. onpick(member, isAround): called with the box that was clicked; ontip(member): the words beside the pointer.
async function makeCanvas(holder, onpick, ontip) {
  const [cytoscape] = [await library("cytoscape"), await library("dagre")];
  const cy = cytoscape({
    container: holder,
    style: canvasStyle(),
    layout: { name: "preset" },
    minZoom: 0.03,
    maxZoom: 3,
    boxSelectionEnabled: false,
    autoungrabify: true,
    autounselectify: true,
    textureOnViewport: false,
    pixelRatio: "auto",
  });
  const members = new Map();
  cy.on("tap", "node", (event) => onpick(members.get(event.target.id()), event.target.hasClass("around")));
  cy.on("mouseover", "node", (event) => {
    if (event.target.hasClass("around")) return;
    event.target.connectedEdges().addClass("near");
    tip(ontip(members.get(event.target.id())), event.originalEvent);
  });
  cy.on("mouseout", "node", (event) => {
    if (!event.target.hasClass("chosen")) event.target.connectedEdges().removeClass("near");
    tip("");
  });
  return { cy, members };
}

// Draws boxes at their places. colourOf(member): name of a CSS colour; classesOf(member): marks such as "found" and "chosen".
function paint(canvas, { boxes, around, edges, positions, corners, widths, extent }, colourOf, classesOf, keepView) {
  const { cy, members } = canvas;
  const ids = new Map();
  members.clear();
  for (const member of [...around, ...boxes]) {
    ids.set(member, `n${ids.size}`);
    members.set(ids.get(member), member);
  }
  const parentOf = (member) => ids.get(member.parent);
  const elements = around.map((scope) => ({
    group: "nodes",
    classes: "around",
    data: {
      id: ids.get(scope),
      parent: parentOf(scope),
      label: `▾ ${scope.label}`,
      room: widths.get(scope),
      width: 10,
      height: 10,
      colour: themed("scope"),
      edge: themed("line"),
    },
  }));
  for (const box of boxes) {
    const { title, note } = wordsOf(box);
    const colour = colourOf(box);
    elements.push({
      group: "nodes",
      classes: [box.item ? "" : "folded", ...classesOf(box)].join(" "),
      position: { ...positions.get(box) },
      data: {
        id: ids.get(box),
        parent: parentOf(box),
        label: (box.item ? title : `▸ ${title}`) + (note ? `\n${note}` : ""),
        colour,
        edge: themed("boxline"),
        ...sizeOf(box),
      },
    });
  }
  edges.forEach((edge, index) => elements.push(drawnEdge(edge, `e${index}`, ids, positions, corners.get(edge))));
  const view = keepView ? { zoom: cy.zoom(), pan: { ...cy.pan() } } : null;
  cy.batch(() => {
    cy.elements().remove();
    cy.add(elements);
  });
  if (view) cy.viewport(view);
  else fitted(cy, extent);
  canvas.ids = ids;
}

function drawnEdge(edge, id, ids, positions, points) {
  const data = {
    id,
    source: ids.get(edge.from),
    target: ids.get(edge.to),
    width: Math.min(1 + Math.log2(edge.count) * 0.45, 3.5),
    label: edge.count > 1 ? `${edge.count}` : "",
  };
  const from = positions.get(edge.from);
  const to = positions.get(edge.to);
  const along = { x: to.x - from.x, y: to.y - from.y };
  const length = Math.hypot(along.x, along.y);
  const classes = [edge.kind || "", edge.from.parent === edge.to.parent ? "" : "far"];
  if (points && points.length && length > 1) {
    // Corners as cytoscape wants them: how far along the straight line, and how far beside it.
    data.weights = points.map(({ x, y }) => ((x - from.x) * along.x + (y - from.y) * along.y) / length ** 2);
    data.distances = points.map(({ x, y }) => ((y - from.y) * along.x - (x - from.x) * along.y) / length);
    classes.push("routed");
  }
  return { group: "edges", classes: classes.join(" "), data };
}

// The whole picture, or as much of its beginning as can be read.
function fitted(cy, box) {
  const whole = Math.min((cy.width() - 40) / box.w, (cy.height() - 40) / box.h);
  const zoom = Math.max(Math.min(whole, 1.1), Math.min((cy.width() - 40) / box.w, 0.8), 0.5);
  const margin = (room, size) => Math.max(20, (room - size * zoom) / 2);
  cy.viewport({ zoom, pan: { x: margin(cy.width(), box.w), y: margin(cy.height(), box.h) } });
}

function lookAt(canvas, member) {
  const node = canvas.ids.has(member) && canvas.cy.getElementById(canvas.ids.get(member));
  if (!node || !node.length) return;
  canvas.cy.zoom(Math.max(canvas.cy.zoom(), 0.75));
  canvas.cy.center(node);
}
