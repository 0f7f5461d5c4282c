// The description, with the questions that several views ask of it: the nodes of a stage, who uses whom, what is where.

let report = null; // the head: everything but the nodes of stages and the code of kernels

const FAMILIES = [
  ["product", "products", /^(dot_general|convolution)/],
  ["reduce", "reductions", /^(reduce_|cumulative|arg|sort|scan)/],
  ["data", "feeds and variables", /^(parameter|variable_|random)/],
  ["constant", "constants", /^(constant|iota)$/],
  [
    "view",
    "views",
    /^(reshape|transpose|broadcast|slice|concatenate|pad|reverse|dynamic|gather|scatter|expand|get_tuple|squeeze|transfer|convert|bitcast)/,
  ],
  ["fusion", "fused", /^(fusion)/],
  ["map", "element by element", /./],
];

// The family of a primitive: which colour it has.
const familyOf = (primitive) => FAMILIES.find(([, , pattern]) => pattern.test(primitive))[0];

// The stage in which an unchanged one's nodes stand: its own number, or that of the last one that changed.
function homeOf(stage) {
  while (stage > 0 && !report.stages[stage].changed) stage -= 1;
  return stage;
}

const stageNumber = (name, fallback) => {
  const found = report.stages.findIndex((stage) => stage.name === name);
  return found < 0 ? fallback : found;
};

// A stage's contents, with `byId` and `users` (both maps by node id), made once.
const stageContents = new Map();

async function contents(stage) {
  const home = homeOf(stage);
  const key = `${piece}-${home}`;
  if (!stageContents.has(key)) {
    const data = await json(`stage-${home}`);
    data.byId = new Map(data.nodes.map((node) => [node.id, node]));
    data.users = new Map(data.nodes.map((node) => [node.id, []]));
    for (const node of data.nodes) for (const operand of new Set(node.operands)) data.users.get(operand)?.push(node.id);
    stageContents.set(key, data);
  }
  return stageContents.get(key);
}

const operationsOf = (node) => node.operations.map((index) => report.operations[index]);

// Where in the user's name scopes a node stands: the name of its first operation, or of the variable or feed that it is. A write stands
// with what is written, so that arrows do not run back to where the variable is read.
function placeOf(node, data) {
  if (node.name === "variable_assign" && data) return placeOf(data.byId.get(node.operands[0]), data);
  if (node.operations.length && node.name !== "variable_read") return report.operations[node.operations[0]].name;
  const named = /(?:variable|name) = "((?:[^"\\]|\\.)*)"/.exec(node.note || "");
  return named ? named[1].replace(/:\d+$/, "") : "";
}

// The lines of code (".../train.py:12") of a node.
const linesOf = (node) => [
  ...new Set(
    operationsOf(node)
      .map((operation) => operation.line)
      .filter(Boolean),
  ),
];

// What a line of the user's program says, where the report knows it.
const lineText = (line) => (report.lines && report.lines[line]) || "";

const timeOf = (kernel) => (kernel.measured_us === null || kernel.measured_us === undefined ? kernel.microseconds : kernel.measured_us);

const measured = () => report.kernels.some((kernel) => kernel.measured_us !== null && kernel.measured_us !== undefined);

const totalTime = () => report.kernels.reduce((sum, kernel) => sum + timeOf(kernel), 0);

const KERNELS_A_BLOCK = 32; // as in graphc/inspection/report.py

// The code of a kernel: {text, code, assembly}. Equal kernels share the machine code, which the first of them has.
async function codeOf(kernel) {
  const own = await textsOf(kernel);
  const first = report.kernels[kernel].same_as ?? kernel;
  return first === kernel ? own : { ...(await textsOf(first)), text: own.text };
}

const textsOf = async (kernel) => (await json(`code-${Math.floor(kernel / KERNELS_A_BLOCK)}`))[kernel % KERNELS_A_BLOCK];

// The class of a kernel's colour: kinds that have none share one.
const kindClass = (kernel) => `kind-${(/\b(loop|row|column|dot|scan|scatter)\b/.exec(kernel.kind) || ["other"])[0]}`;

// Links to things, the same in every view ------------------------------------------------------------------------------------------------

const kernelLink = (index) =>
  index === null || index === undefined
    ? muted("none")
    : el(
        "a",
        { href: hashOf({ view: "kernels", kernel: index }), class: "clip", "data-tip": report.kernels[index].name },
        report.kernels[index].name,
      );

const lineLink = (line) => link({ view: "source", line }, line);

const operationLink = (index) => link({ view: "source", operation: index }, report.operations[index].name);

const nodeLink = (stage, id, text = `%${id}`) => link({ view: "graph", stage: report.stages[stage].name, node: id }, text);

// A list of links, the first few of it.
function some(items, limit = 12) {
  const shown = items.slice(0, limit).flatMap((item, index) => (index ? [", ", item] : [item]));
  return items.length > limit ? [...shown, muted(` +${thousands(items.length - limit)}`)] : shown;
}
