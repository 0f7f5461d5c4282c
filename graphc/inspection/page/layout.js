// Where boxes stand: every unfolded scope is laid out by itself, in layers from operands to users, and is then one box of its scope.
//
// dagre places the boxes of one scope. That keeps each layout small, and a scope looks the same whatever is unfolded around it.

const PADDING = 14; // inside a scope, as in the style of canvas.js
const HEADER = 20; // above a scope, for its name
const GAP = 16;
const GUTTER = 46; // between columns
const SHAPE = 1.6; // a chain becomes columns until it is about this many times as high as wide

// Positions of boxes: Map from box to {x, y}; corners of edges: Map from edge to [{x, y}]; widths of unfolded scopes: Map; extent {w, h}.
function placed(root, open, boxes, edges) {
  const inner = innerEdges(edges);
  const positions = new Map();
  const corners = new Map();
  const widths = new Map();
  const arrange = (scope) => {
    const units = scope.members.map((member) => ({ member, plan: !member.item && open.has(member) ? arrange(member) : null }));
    for (const unit of units) {
      const size = unit.plan
        ? { width: unit.plan.width + 2 * PADDING, height: unit.plan.height + 2 * PADDING + HEADER }
        : sizeOf(unit.member);
      Object.assign(unit, size);
    }
    return { ...arranged(units, inner.get(scope) || []), units };
  };
  const settle = (plan, left, top) => {
    for (const unit of plan.units) {
      const x = left + unit.x;
      const y = top + unit.y;
      if (unit.plan) widths.set(unit.member, unit.width);
      if (unit.plan) settle(unit.plan, x - unit.plan.width / 2, y - unit.plan.height / 2 + HEADER / 2);
      else positions.set(unit.member, { x, y });
    }
    for (const [edge, points] of plan.routes)
      corners.set(
        edge,
        points.map(({ x, y }) => ({ x: left + x, y: top + y })),
      );
  };
  const whole = arrange(root);
  settle(whole, 0, 0);
  return { positions, corners, widths, extent: { w: whole.width, h: whole.height } };
}

// Each edge belongs to the innermost scope around both ends, where it joins two members. Map from scope to [{from, to, edges}].
function innerEdges(edges) {
  const found = new Map();
  for (const edge of edges) {
    let { from, to } = edge;
    while (from.parent !== to.parent) {
      if (from.depth >= to.depth) from = from.parent;
      else to = to.parent;
    }
    if (!found.has(from.parent)) found.set(from.parent, []);
    found.get(from.parent).push({ from, to, edge });
  }
  return found;
}

// A box is as wide as its two lines of text.
function sizeOf(member) {
  const { title, note } = wordsOf(member);
  const width = Math.max(title.length * (member.item ? 6.7 : 7.3), note.length * 6.7) + (member.item ? 22 : 34);
  return { width: Math.max(64, Math.min(width, 290)), height: note ? 38 : 26 };
}

// What is written in a box: an item's primitive and name, a scope's name and size.
function wordsOf(member) {
  if (!member.item) return { title: abridged(member.label, 34), note: counted(member.size, "node") };
  return { title: member.item.title || member.item.primitive, note: abridged(member.label || member.item.type || "", 34) };
}

// Units with their places, by dagre; those that no edge touches stand in rows below.
function arranged(units, edges) {
  const names = new Map(units.map((unit, index) => [unit.member, String(index)]));
  const joined = new Set(edges.flatMap(({ from, to }) => [from, to]));
  const graph = new dagre.graphlib.Graph({ multigraph: true });
  graph.setGraph({ rankdir: "TB", nodesep: 18, ranksep: 34, edgesep: 10, marginx: 0, marginy: 0 });
  const linked = units.filter((unit) => joined.has(unit.member));
  for (const unit of linked) graph.setNode(names.get(unit.member), { width: unit.width, height: unit.height });
  edges.forEach(({ from, to }, index) => graph.setEdge(names.get(from), names.get(to), {}, String(index)));
  let size = { width: 0, height: 0 };
  const routes = new Map();
  if (linked.length) {
    dagre.layout(graph);
    const { width, height } = graph.graph();
    for (const unit of linked) [unit.x, unit.y] = (({ x, y }) => [x, y])(graph.node(names.get(unit.member)));
    edges.forEach(({ from, to, edge }, index) =>
      routes.set(edge, graph.edge(names.get(from), names.get(to), String(index)).points.slice(1, -1)),
    );
    size = inColumns(linked, edges, routes, width, height);
  }
  return {
    ...inRows(
      units.filter((unit) => !joined.has(unit.member)),
      size.width,
      size.height,
    ),
    routes,
  };
}

// A long chain of layers goes on at the top of the next column, as a text does: a strip of one box's width cannot be read. Layers stay
// whole.
function inColumns(units, edges, routes, width, height) {
  const count = Math.round(Math.sqrt(height / (width * SHAPE)));
  if (count < 2) return { width, height };
  const tops = columnTops(units, height / count);
  const columnOf = (y) => tops.findLastIndex((top) => y >= top);
  const step = width + GUTTER;
  const moved = (point) => ({ x: point.x + step * columnOf(point.y), y: point.y - tops[columnOf(point.y)] });
  const unitOf = new Map(units.map((unit) => [unit.member, unit]));
  for (const { from, to, edge } of edges) {
    const [source, target] = [unitOf.get(from), unitOf.get(to)];
    const [first, last] = [columnOf(source.y), columnOf(target.y)];
    if (first === last) routes.set(edge, routes.get(edge).map(moved));
    else {
      const [leave, arrive] = [moved(source).y + source.height / 2 + 12, moved(target).y - target.height / 2 - 12];
      const between = step * last - GUTTER / 2;
      routes.set(edge, [
        { x: moved(source).x, y: leave },
        { x: between, y: leave },
        { x: between, y: arrive },
        { x: moved(target).x, y: arrive },
      ]);
    }
  }
  let deepest = 0;
  for (const unit of units) {
    Object.assign(unit, moved(unit));
    deepest = Math.max(deepest, unit.y + unit.height / 2);
  }
  return { width: step * tops.length - GUTTER, height: deepest };
}

// Where columns begin: at the first layer that passes each column's share of the height.
function columnTops(units, share) {
  const spans = units.map((unit) => [unit.y - unit.height / 2, unit.y + unit.height / 2]).sort((a, b) => a[0] - b[0]);
  const tops = [0];
  let below = 0;
  for (const [top, bottom] of spans) {
    if (top > below && top - tops[tops.length - 1] >= share * 0.9) tops.push(top);
    below = Math.max(below, bottom);
  }
  return tops;
}

// Rows of units below what is there already, about as wide as high.
function inRows(units, width, height) {
  const area = units.reduce((sum, unit) => sum + (unit.width + GAP) * (unit.height + GAP), 0);
  const limit = Math.max(width, Math.sqrt(area) * 1.4, ...units.map((unit) => unit.width));
  let top = height ? height + GAP : 0;
  let x = 0;
  let deep = 0;
  for (const unit of units) {
    if (x && x + unit.width > limit) {
      top += deep + GAP;
      x = deep = 0;
    }
    unit.x = x + unit.width / 2;
    unit.y = top + unit.height / 2;
    x += unit.width + GAP;
    deep = Math.max(deep, unit.height);
    width = Math.max(width, x - GAP);
  }
  return { width, height: units.length ? top + deep : height };
}
