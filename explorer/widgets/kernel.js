// Whether anybody is there to answer: a kernel that has ended, or a server that cannot be reached, is said on the page with
// what to do about it. What ended does not come back by itself: a kernel that the server starts in its place knows
// nothing of this page. A connection does come back.

const ENDED = ["dead", "autorestarting", "restarting", "terminating"];
const LOST_AFTER = 3000; // milliseconds without a connection: shorter breaks are nobody's business

// Returns what stops it. `model` is that of a view on the page.
function watchKernel(board, model, box) {
  const kernel = model.widget_manager.kernel;
  if (!kernel?.statusChanged) return () => {};
  let ended = false;
  let timer = 0;
  let shown = "";
  const show = (state) => {
    shown = state;
    box.hidden = !state;
    if (!state) return;
    const alone = box.closest(".explorer")?.dataset.host === "page";
    const reload = make("button", { class: "ex-button explorer-reload", type: "button", text: say(board, "ui.kernel.reload"), onclick: () => location.reload() });
    box.replaceChildren(make("strong", { text: say(board, `ui.kernel.${state}`) }), make("span", { text: say(board, `ui.kernel.${alone ? "page" : "cell"}`) }), alone ? reload : "");
  };
  const heard = () => {
    ended ||= ENDED.includes(kernel.status) || kernel.isDisposed;
    clearTimeout(timer);
    if (ended) return shown === "dead" || show("dead");
    if (kernel.connectionStatus !== "connected") timer = setTimeout(() => show("lost"), LOST_AFTER);
    else if (shown) show("");
    return null;
  };
  const signals = [kernel.statusChanged, kernel.connectionStatusChanged, kernel.disposed].filter(Boolean);
  signals.forEach((signal) => signal.connect(heard));
  const stop = listen(board, ["words"], () => shown && show(shown));
  return () => {
    clearTimeout(timer);
    stop();
    signals.forEach((signal) => signal.disconnect(heard));
  };
}
