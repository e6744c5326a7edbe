// The edges of the clip as handles on the axis: dragged with the pointer, or moved by key. They edit the settings that the
// sliders edit, the same way, and held as long as the pointer has them. They are nodes above the picture, since a redraw of
// that must not end a drag. A part of the clip picture.

// How an edge on the axis and the value of its setting belong together.
const EDGES = {
  low: { edgeOf: (value) => 1 - value, valueOf: (edge) => 1 - edge },
  high: { edgeOf: (value) => 1 + value, valueOf: (edge) => edge - 1 },
  limit: { edgeOf: (value) => value, valueOf: (edge) => edge },
};
const PATIENCE = 1000; // milliseconds for which a handle that was let go waits for the kernel to have heard of it

const tidy = (value) => Number(value.toFixed(6));

// The value of a setting for an edge at a ratio: in whole steps, within what its slider reaches. On an axis with a grain,
// with two digits and down to that.
function valueAtEdge(part, ratio, { low_shown: low, high_shown: high, step }, grain = 0) {
  const value = EDGES[part].valueOf(ratio);
  if (grain) return Number(clamp(value, Math.min(grain, low), high).toPrecision(2));
  return tidy(clamp(Math.round(value / step) * step, low, high));
}

// The value after some steps. One that was typed below the slider's first step, as GSPO's, is stepped in its own decade.
function valueAfter(value, steps, { low_shown: low, high_shown: high, step }) {
  if (value >= low && (value > low || steps > 0)) return tidy(clamp((Math.round(value / step) + steps) * step, low, high));
  if (value >= low) return low;
  const own = 10 ** (steps < 0 ? Math.ceil(Math.log10(value) - 1e-9) - 1 : Math.floor(Math.log10(value) + 1e-9));
  return Number(clamp(value + steps * own, own / 10, low).toPrecision(6));
}

// What a key asks of a handle: the new value; undefined where it is not a handle's key. Right and up move the edge to the
// right, which for the lower edge is a smaller ε.
function valueOfKey(key, part, value, field) {
  const outwards = part === "low" ? -1 : 1;
  const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 5, PageDown: -5 }[key];
  if (steps) return valueAfter(value, steps * outwards, field);
  if (key !== "Home" && key !== "End") return undefined;
  return (key === "End") === (outwards > 0) ? field.high_shown : field.low_shown;
}

// `layer` lies over the picture. Returns what puts the handles in their places: `place(spots)`, none to take them away.
function handlesOn(layer, board, leaving) {
  const handles = new Map();
  let held = null; // {field, value}: what a handle has been moved to, until the kernel has heard of it

  const settings = () => board.exSettings;
  const valueOf = (field) => (held?.field === field ? held.value : settings().value(field));
  const settled = (refused) => {
    if (!held || held.dragged) return;
    if (refused || settings().value(held.field) === held.value) held = null;
    placeAll();
  };
  const move = (field, value) => {
    if (value === valueOf(field)) return;
    held = { ...held, field, value };
    settings().move(field, value);
    placeAll();
  };
  const letGo = () => {
    if (!held) return;
    const own = (held = { ...held, dragged: false });
    settled(false);
    setTimeout(() => {
      if (held !== own) return; // the kernel has answered, or another drag has begun
      held = null;
      placeAll();
    }, PATIENCE);
  };

  const makeHandle = () => {
    const node = make("div", { class: "ex-handle" });
    const handle = { node, spot: null };
    let grip = null; // how far the pointer is from the edge that it has taken hold of
    const onAxis = (event) => placeIn(layer, event).x;
    node.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      node.setPointerCapture(event.pointerId);
      const { part, field, scales } = handle.spot;
      const value = valueOf(field);
      grip = onAxis(event) - scales.x(EDGES[part].edgeOf(value));
      settings().take(field, event);
      held = { field, value, dragged: true };
      node.classList.add("ex-held");
    });
    node.addEventListener("pointermove", (event) => {
      if (grip === null) return;
      const { part, field, scales } = handle.spot;
      move(field, valueAtEdge(part, scales.ratioAt(onAxis(event) - grip), settings().field(field), scales.grain));
    });
    node.addEventListener("lostpointercapture", () => {
      grip = null;
      node.classList.remove("ex-held");
      letGo();
    });
    node.addEventListener("keydown", (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      const { part, field } = handle.spot;
      const value = valueOfKey(event.key, part, valueOf(field), settings().field(field));
      if (value === undefined) return;
      event.preventDefault();
      event.stopPropagation(); // the arrows of the page walk from token to token
      move(field, value);
      settings().drop(field);
      letGo();
    });
    return handle;
  };

  // The handles of the panel for A < 0 move with those of the other one, which a keyboard reaches and a reader hears of.
  const put = ({ node, spot }) => {
    const { part, field, sign, scales } = spot;
    const limits = settings().field(field);
    const value = valueOf(field);
    const { edgeOf } = EDGES[part];
    const ends = [limits.low_shown, limits.high_shown, value].map(edgeOf);
    const shown = edgeOf(value);
    node.className = `ex-handle ex-handle-${part} explorer-handle-${part}${node.classList.contains("ex-held") ? " ex-held" : ""}`;
    node.style.left = `${scales.x(shown).toFixed(1)}px`;
    node.style.top = `${scales.bottom}px`;
    const text = say(board, "clip.handle.value", { ratio: edgeText(shown), name: say(board, `fields.${field}.label`), value: Number(value.toPrecision(4)) });
    node.title = text;
    if (sign < 0 && part !== "limit") return node.setAttribute("aria-hidden", "true");
    node.setAttribute("role", "slider");
    node.setAttribute("tabindex", "0");
    node.setAttribute("aria-orientation", "horizontal");
    node.setAttribute("aria-valuemin", tidy(Math.min(...ends)));
    node.setAttribute("aria-valuemax", tidy(Math.max(...ends)));
    node.setAttribute("aria-valuenow", tidy(shown));
    node.setAttribute("aria-label", `${say(board, `clip.handle.${part}`)}: ${say(board, `fields.${field}.label`)}`);
    node.setAttribute("aria-valuetext", text);
    return null;
  };
  const placeAll = () => handles.forEach(put);

  leaving(listen(board, ["settings"], settled));
  return (spots) => {
    const there = settings() ? spots.filter(({ field }) => typeof settings().value(field) === "number") : [];
    const wanted = new Set(there.map(({ part, sign }) => `${part}${sign}`));
    for (const [key, { node }] of handles) {
      if (wanted.has(key)) continue;
      node.remove();
      handles.delete(key);
    }
    for (const spot of there) {
      const key = `${spot.part}${spot.sign}`;
      if (!handles.has(key)) {
        handles.set(key, makeHandle());
        layer.append(handles.get(key).node);
      }
      handles.get(key).spot = spot;
    }
    placeAll();
  };
}
