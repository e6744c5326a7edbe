// Formulas as native MathML: the tree that the kernel has reckoned, once with its symbols and once with its numbers.

const MATH_NS = "http://www.w3.org/1998/Math/MathML";

function mathNode(tag, ...children) {
  const node = document.createElementNS(MATH_NS, tag);
  node.append(...children);
  return node;
}
const gap = () => {
  const node = mathNode("mspace");
  node.setAttribute("width", "0.17em");
  return node;
};
const operator = (text) => mathNode("mo", text);
const fenced = (...nodes) => mathNode("mrow", operator("("), ...nodes, operator(")"));

// Five significant digits, so that a line can be checked with a calculator against the next.
function figure(value) {
  if (typeof value !== "number") return value ?? "–";
  const size = Math.abs(value);
  const text = size !== 0 && (size < 1e-4 || size >= 1e6) ? value.toExponential(4) : String(Number(value.toPrecision(5)));
  return text.replaceAll("-", MINUS);
}

// The colour of a symbol is the same everywhere. A score s has an index, the ratio of a whole response has none.
function colourOf({ name, index }) {
  if (["ρ", "clip(ρ)", "clip(s)"].includes(name) || (name === "s" && !index)) return "ex-ratio";
  if (["β", "k1", "k2", "k3", "KL"].includes(name)) return "ex-price";
  return ["A", "Â"].includes(name) ? "ex-adv" : "";
}

// A symbol with its index; what the index says in words is in `words`.
function symbolNode({ name, index = "" }, words) {
  const at = name.lastIndexOf(" ");
  const letter = mathNode(/^.[\u0302]?$/u.test(name.slice(at + 1)) ? "mi" : "mtext", name.slice(at + 1));
  const below = index ? mathNode("msub", letter, mathNode("mtext", words(name, index))) : letter;
  return at < 0 ? below : mathNode("mrow", mathNode("mi", name.slice(0, at)), gap(), below);
}

const BINDS = { add: 1, sub: 1, sum: 1, neg: 1, mul: 2 };
const SIGNS = { add: "+", sub: MINUS, mul: "·" };
const NAMED = { least: "min", most: "max", held: "clip", sigmoid: "sigmoid" };

// `filled`: with numbers for symbols. `tight`: how strongly what stands around it binds; `first`: nothing stands before it.
function formulaNode(formula, filled, words, tight = 0, first = true) {
  const { op, of, name, value } = formula;
  if (!op) {
    const node = filled || !name ? mathNode("mn", figure(value)) : symbolNode(formula, words);
    const colour = colourOf(formula);
    if (colour) node.setAttribute("class", colour);
    return (filled || !name) && !first && figure(value).startsWith(MINUS) ? fenced(node) : node;
  }
  const inner = (part, binds = 0, leads = true) => formulaNode(part, filled, words, binds, leads);
  const binds = BINDS[op] ?? 9;
  let node;
  if (op === "sum") node = mathNode("mrow", ...summands(formula, inner));
  else if (SIGNS[op]) {
    const right = op === "sub" ? binds + 0.5 : binds; // a − (b + c)
    node = mathNode("mrow", inner(of[0], binds, first), operator(SIGNS[op]), inner(of[1], right, false));
  } else if (op === "neg") node = mathNode("mrow", operator(MINUS), inner(of[0], 1.5, false));
  else if (op === "div") node = mathNode("mfrac", inner(of[0]), inner(of[1]));
  else if (op === "exp") node = mathNode("msup", mathNode("mi", "e"), inner(of[0]));
  else if (op === "square") node = mathNode("msup", of[0].op ? fenced(inner(of[0])) : inner(of[0], 9, false), mathNode("mn", "2"));
  else if (op === "size") node = mathNode("mrow", operator("|"), inner(of[0]), operator("|"));
  else {
    const parts = of.flatMap((part, i) => (i ? [operator(","), inner(part)] : [inner(part)]));
    node = mathNode("mrow", mathNode("mi", NAMED[op]), fenced(...parts));
  }
  return binds < tight ? fenced(node) : node;
}

// The terms of a sum, each with the sign before it; where the middle is left out three dots stand for it.
function summands({ of, left_out: leftOut = 0 }, inner) {
  return of.map((part, i) => {
    const dots = leftOut && i === of.length - 1 ? [operator("+"), operator("⋯")] : [];
    return mathNode("mrow", ...dots, ...(i ? [operator("+")] : []), inner(part, 1, i === 0));
  });
}

// `symbol = formula = numbers`, each equation a node of its own, so that a narrow panel breaks between them; a sum, which
// MathML does not break, is in as many pieces as it has terms.
function equations({ symbol, formula }, words) {
  const side = (filled, ...left) => {
    const whole = formula.op === "sum" ? summands(formula, (part, binds, first) => formulaNode(part, filled, words, binds, first)) : [formulaNode(formula, filled, words)];
    const pieces = whole.map((node, i) => mathNode("math", mathNode("mrow", ...(i ? [] : left), node)));
    return make("span", { class: "ex-ledger-side" }, ...pieces);
  };
  const sides = [side(false, ...(symbol.name ? [symbolNode(symbol, words), operator("=")] : []))];
  if (formula.op || formula.name) sides.push(side(true, operator("=")));
  return sides;
}
