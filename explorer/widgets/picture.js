// A panel as one SVG that needs nothing else: no style sheet, no font file, no network. A panel that is drawn in SVG
// becomes a drawing that other programs can edit too: its pictures, and its words as text where they stand. A panel of
// HTML, such as the tokens, is put in as it is (foreignObject), whole and not only what is scrolled into sight, with the
// page's style sheet: browsers show it, drawing programs may not.

const DRAWN = ["objective", "advantages", "kl", "curves", "ladder", "inspector"];
const NOT_DRAWN = ".ex-tools, .ex-tip, .ex-spoken, .ex-handles, .ex-tabs, .ex-play, .ex-folded-name, button, select, input, [hidden]";
const STYLED = ["fill", "fill-opacity", "fill-rule", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray", "stroke-linecap", "stroke-linejoin", "opacity", "paint-order",
  "font-family", "font-size", "font-weight", "font-style", "text-anchor", "dominant-baseline", "visibility", "clip-path"];
const EDGE = 12; // pixels around the picture

// The picture of a panel as {text, width, height}.
function pictureOf(root, key, title) {
  const drawn = DRAWN.includes(key) && root.querySelector("svg");
  const { svg, width, height } = drawn ? drawingOf(root, title) : sheetOf(root);
  svg.setAttribute("xmlns", SVG_NS);
  svg.setAttribute("width", width);
  svg.setAttribute("height", height);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.prepend(draw("title", { text: title }));
  // Some signs that a token may hold are none in XML.
  const text = new XMLSerializer().serializeToString(svg).replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "�");
  return { text, width, height };
}

// ---------------------------------------------------------------- as a drawing

function drawingOf(root, title) {
  const zoom = zoomOf(root);
  const origin = root.getBoundingClientRect();
  const at = ({ left, top, width, height }) => ({ x: (left - origin.left) / zoom, y: (top - origin.top) / zoom, width: width / zoom, height: height / zoom });
  const { width, height } = at(origin);
  const style = getComputedStyle(root);
  const svg = draw("svg");
  draw("rect", { width, height, fill: style.backgroundColor }, svg);
  // A tab says which picture it is, and is not drawn: the title stands in its place.
  const tabs = root.querySelector(".ex-tabs");
  if (tabs && !root.querySelector("h2")?.checkVisibility()) {
    draw("text", { x: EDGE, y: at(tabs.getBoundingClientRect()).y + 15, "font-family": style.fontFamily, "font-size": 13, "font-weight": 700, fill: style.color, text: title }, svg);
  }
  const visit = (node) => {
    if (node.nodeType === Node.TEXT_NODE) return drawWords(svg, node, at);
    if (node.nodeType !== Node.ELEMENT_NODE || node.matches(NOT_DRAWN) || !node.checkVisibility()) return null;
    if (node.localName === "svg") return svg.append(placed(node, at(node.getBoundingClientRect())));
    if (["style", "script"].includes(node.localName)) return null;
    drawPaper(svg, node, at, root);
    node.childNodes.forEach(visit);
    return null;
  };
  root.childNodes.forEach(visit);
  return { svg, width: Math.ceil(width), height: Math.ceil(height) };
}

// A copy of a picture at its place, every node with the styles that the page gives it.
function placed(picture, box) {
  const copy = picture.cloneNode(true);
  const [from, to] = [[picture, ...picture.querySelectorAll("*")], [copy, ...copy.querySelectorAll("*")]];
  from.forEach((node, i) => {
    const style = getComputedStyle(node);
    to[i].removeAttribute("class");
    if (style.display === "none") to[i].setAttribute("display", "none");
    to[i].setAttribute("style", STYLED.map((name) => `${name}:${style.getPropertyValue(name)}`).join(";"));
  });
  for (const [name, value] of Object.entries(box)) copy.setAttribute(name, value);
  for (const node of to) ["tabindex", "role"].forEach((name) => node.removeAttribute(name)); // nothing opens there
  return copy;
}

// The paper of a node that has its own, such as the formula's.
function drawPaper(svg, node, at, root) {
  const { backgroundColor, borderRadius } = getComputedStyle(node);
  if (node === root || /^rgba\(.*, 0\)$|^transparent$/.test(backgroundColor)) return;
  draw("rect", { ...at(node.getBoundingClientRect()), rx: parseFloat(borderRadius) || 0, fill: backgroundColor }, svg);
}

// The words of a text node, a line of them at a time, where they stand on the page.
function drawWords(svg, node, at) {
  if (!node.data.trim() || !node.parentElement.checkVisibility()) return;
  const style = getComputedStyle(node.parentElement);
  const range = document.createRange();
  let line = null;
  const put = () => {
    if (line?.text.trim()) {
      draw("text", { x: line.x, y: line.y + line.height * 0.78, "font-family": style.fontFamily, "font-size": style.fontSize, "font-weight": style.fontWeight, "font-style": style.fontStyle, fill: style.color, text: line.text, style: "white-space:pre" }, svg);
    }
  };
  for (let i = 0; i < node.length; i += 1) {
    range.setStart(node, i);
    range.setEnd(node, i + 1);
    const box = range.getClientRects()[0];
    if (!box) continue;
    const place = at(box);
    if (line && Math.abs(line.y - place.y) < 3) line.text += node.data[i];
    else {
      put();
      line = { ...place, text: node.data[i] };
    }
  }
  put();
}

// ---------------------------------------------------------------- as a sheet of HTML

function sheetOf(root) {
  const zoom = zoomOf(root);
  const page = root.closest(".explorer");
  const width = Math.ceil(root.getBoundingClientRect().width / zoom);
  const copy = root.cloneNode(true);
  const [from, to] = [root, copy].map((node) => [...node.querySelectorAll("input, select, textarea")]);
  from.forEach((field, i) => {
    if (field.localName === "select") [...to[i].options].forEach((option, k) => option.toggleAttribute("selected", k === field.selectedIndex));
    else if (field.localName === "textarea") to[i].textContent = field.value;
    else if (field.type === "checkbox") to[i].toggleAttribute("checked", field.checked);
    else to[i].setAttribute("value", field.value);
  });
  copy.querySelectorAll(".ex-tools, .ex-tip, .ex-spoken, .ex-folded-name").forEach((node) => node.remove());
  const around = make("div", { class: "explorer", "data-theme": page.dataset.theme, "data-columns": "2", style: `width:${width}px` }, copy);
  const sheet = make("div", {}, make("style", { text: `${ownRules()}\n${WHOLE}` }), around);
  // Laid out once out of sight, to know how tall it is.
  const gauge = make("div", { style: "position:absolute;left:-99999px;top:0;visibility:hidden" });
  gauge.attachShadow({ mode: "open" }).append(sheet);
  document.body.append(gauge);
  const height = Math.ceil(around.getBoundingClientRect().height);
  gauge.remove();
  const svg = draw("svg");
  draw("foreignObject", { width, height }, svg).append(sheet);
  return { svg, width, height };
}

const WHOLE = `* { margin: 0; } .explorer { container: none; } .explorer-view { width: auto; height: auto !important; max-height: none !important; min-height: 0 !important; contain: none; }
  .explorer-view * { overflow: visible !important; content-visibility: visible !important; max-height: none !important; }`;

// The page's own style sheet, as it is in force.
function ownRules() {
  const sheets = [...document.styleSheets, ...document.adoptedStyleSheets];
  const own = sheets.find((sheet) => {
    try {
      return [...sheet.cssRules].some((rule) => rule.selectorText?.includes(".explorer-view"));
    } catch {
      return false; // a sheet of another host is not for us to read
    }
  });
  return own ? [...own.cssRules].map((rule) => rule.cssText).join("\n") : "";
}

// ---------------------------------------------------------------- as pixels

const SHARP = 2; // pixels of the file for each of the page

// A PNG of a picture, as a Blob.
async function pixelsOf({ text, width, height }) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  await image.decode();
  const canvas = Object.assign(document.createElement("canvas"), { width: width * SHARP, height: height * SHARP });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((done, failed) => canvas.toBlob((blob) => (blob ? done(blob) : failed(new Error("The picture is too large."))), "image/png"));
}
