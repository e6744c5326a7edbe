// Two speeds. As long as a pointer holds a control, each value that it passes is told as held: the kernel scores the batch on
// screen by it, and training does not get it. The value at which it is let go counts, however it is let go: by the pointer,
// or because that was taken away, or the window or the page was left. A part of the settings.

// `edit(name, value, held)` tells the kernel. Gives `take(name, event)`: a pointer has taken hold of the field's control;
// `move(name, value)`: the control has moved, which counts at once where no pointer holds it, as by a key; `drop(name)`: it
// is let go, whatever holds it; and `leave()`: all of it is over.
function gripOf(edit) {
  const holders = new Map(); // {field: the pointer that holds its control}
  const passing = new Map(); // {field: the last value that was told as held}
  const settle = (name) => {
    if (!passing.has(name)) return;
    const value = passing.get(name);
    passing.delete(name);
    edit(name, value, false);
  };
  const drop = (name) => {
    holders.delete(name);
    settle(name);
  };
  const over = ({ pointerId }) => holders.forEach((holder, name) => holder === pointerId && drop(name));
  const unpressed = (event) => event.buttons === 0 && over(event); // it was let go where nobody told the page
  // Who comes back to the window with the pointer still down goes on with the drag.
  const settleAll = () => [...passing.keys()].forEach(settle);
  const heard = [
    ...["pointerup", "pointercancel", "lostpointercapture"].map((name) => [window, name, over, true]),
    [window, "pointermove", unpressed, true], [window, "blur", settleAll, false],
    [window, "pagehide", settleAll, false], [document, "visibilitychange", settleAll, false],
  ];
  heard.forEach(([target, name, fn, capture]) => target.addEventListener(name, fn, capture));
  return {
    take: (name, { button, pointerId }) => button === 0 && holders.set(name, pointerId),
    move(name, value) {
      const held = holders.has(name);
      if (held) passing.set(name, value);
      edit(name, value, held);
    },
    drop,
    leave() {
      heard.forEach(([target, name, fn, capture]) => target.removeEventListener(name, fn, capture));
      settleAll();
    },
  };
}
