// Name scopes that fold: a tree over the items of a graph, and which part of it is unfolded.
//
// An item is {key, place, primitive, ...}: `place` is its operation's name, whose parts are the scopes. Chains of scopes with one member
// become one ("a/b/c"), and a scope with too many members gets a level of ranges between, so that no layout ever sees more than WIDEST
// boxes at once.

const WIDEST = 48;
const AUTOMATIC = 44; // boxes that are unfolded before anybody asks
const CAP = 400; // boxes that are shown at most

// The root: a scope {path, label, parent, depth, members, size}. A member is a scope or a leaf {item, label, parent, depth}.
function scopeTree(items) {
  const root = { path: "", label: "", scopes: new Map(), members: [], size: 0 };
  for (const item of items) {
    let scope = root;
    for (const part of item.place ? item.place.split("/") : []) {
      if (!scope.scopes.has(part)) {
        const inner = { path: scope.path ? `${scope.path}/${part}` : part, label: part, scopes: new Map(), members: [], size: 0 };
        scope.scopes.set(part, inner);
        scope.members.push(inner);
      }
      scope = scope.scopes.get(part);
    }
    scope.members.push({ item, label: "", size: 1 });
  }
  const members = root.members.map(compacted);
  return settled({ path: "", label: "", members }, null, 0);
}

// A scope with one member is not worth a box: its name goes into the member's.
function compacted(member) {
  if (member.item) return member;
  const members = member.members.map(compacted);
  if (members.length > 1) return { path: member.path, label: member.label, members };
  const only = members[0];
  return { ...only, label: only.label ? `${member.label}/${only.label}` : member.label };
}

// Parents, depths and sizes, once the shape is final.
function settled(member, parent, depth) {
  member.parent = parent;
  member.depth = depth;
  if (member.item) return member;
  if (member.members.length > WIDEST) member.members = ranges(member);
  member.size = 0;
  for (const inner of member.members) member.size += settled(inner, member, depth + 1).size;
  return member;
}

// The members of a crowded scope, in a row of ranges of equal length.
function ranges(scope) {
  const each = Math.ceil(scope.members.length / Math.ceil(scope.members.length / (WIDEST / 2)));
  const made = [];
  for (let first = 0; first < scope.members.length; first += each) {
    const members = scope.members.slice(first, first + each);
    const last = first + members.length;
    made.push(
      members.length === 1 ? members[0] : { path: `${scope.path}/[${first + 1}–${last}]`, label: `${first + 1} – ${last}`, members },
    );
  }
  return made;
}

// Every scope below a member, outermost first.
function* scopesOf(root) {
  const queue = [...root.members];
  for (let at = 0; at < queue.length; at += 1) {
    if (queue[at].item) continue;
    yield queue[at];
    queue.push(...queue[at].members);
  }
}

// Item key -> leaf.
function leavesOf(root, found = new Map()) {
  for (const member of root.members) {
    if (member.item) found.set(member.item.key, member);
    else leavesOf(member, found);
  }
  return found;
}

// The set of scopes that are unfolded. asked: paths that the user unfolded, in order; folded: paths that the user folded; needed: leaves
// that must be seen. What was asked for last goes first when there is not room for all.
function unfolded(root, asked, folded, needed) {
  const open = new Set([root]);
  let count = root.members.length;
  const tryOpen = (scope, limit) => {
    const missing = [];
    for (let s = scope; !open.has(s); s = s.parent) missing.unshift(s);
    const more = missing.reduce((sum, s) => sum + s.members.length - 1, 0);
    if (count + more > limit) return;
    count += more;
    for (const s of missing) open.add(s);
  };
  for (const leaf of needed) tryOpen(leaf.parent, Infinity);
  const byPath = new Map([...scopesOf(root)].map((scope) => [scope.path, scope]));
  for (const path of [...asked].reverse()) if (byPath.has(path)) tryOpen(byPath.get(path), CAP);
  for (const scope of automatic(root)) if (!folded.has(scope.path) && open.has(scope.parent)) tryOpen(scope, CAP);
  return open;
}

// The scopes that are unfolded at first: outer before inner, small before large, as long as the picture stays readable.
function automatic(root) {
  const chosen = [];
  let count = root.members.length;
  let level = root.members.filter((member) => !member.item);
  while (level.length) {
    const next = [];
    for (const scope of level.sort((a, b) => a.members.length - b.members.length)) {
      if (count + scope.members.length - 1 > AUTOMATIC) continue;
      count += scope.members.length - 1;
      chosen.push(scope);
      next.push(...scope.members.filter((member) => !member.item));
    }
    level = next;
  }
  return chosen;
}

// The boxes that are seen: leaves and folded scopes, with the unfolded scopes around them. Gives {boxes, around}.
function visible(root, open) {
  const boxes = [];
  const around = [];
  const walk = (scope) => {
    for (const member of scope.members) {
      if (!member.item && open.has(member)) {
        around.push(member);
        walk(member);
      } else boxes.push(member);
    }
  };
  walk(root);
  return { boxes, around };
}

// For every item the box that stands for it: itself, or the outermost folded scope around it.
function standIns(boxes) {
  const standIn = new Map();
  const mark = (member, box) => {
    if (member.item) standIn.set(member.item.key, box);
    else for (const inner of member.members) mark(inner, box);
  };
  for (const box of boxes) mark(box, box);
  return standIn;
}

// The edges between boxes: those of items, merged. Each {from, to, count, kinds}.
function mergedEdges(items, standIn) {
  const merged = new Map();
  const numbers = new Map();
  const number = (box) => numbers.get(box) ?? (numbers.set(box, numbers.size), numbers.size - 1);
  for (const item of items) {
    const to = standIn.get(item.key);
    if (!to) continue;
    for (const operand of item.operands) {
      const from = standIn.get(operand);
      if (!from || from === to) continue;
      const key = number(from) * 1e6 + number(to);
      const known = merged.get(key);
      if (known) known.count += 1;
      else merged.set(key, { from, to, count: 1 });
    }
  }
  return [...merged.values()];
}
