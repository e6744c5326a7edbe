// Plays the epochs of the update on screen, one after the other: from before the first step to after the last one. Which
// epoch the page shows is the kernel's to say, so each is asked for when the one before has come. A part of the clip picture.

const PACE = 1250; // milliseconds from one epoch's coming to the next

// The epoch of a batch in words; "" where it has none.
function epochName(board, batch) {
  if (!hasBatch(batch) || !batch.epoch) return "";
  return batch.epoch > batch.epochs ? say(board, "ui.after_update") : say(board, "clip.play.before", { epoch: batch.epoch });
}

// Only a finished update has all its epochs.
const canPlay = (batch) => hasBatch(batch) && batch.finished && batch.epoch > 0;

// `ask(epoch)`: have that one on screen, counted as the page counts, -1 for after the last step. `changed()`: playing has
// begun or ended. `heard(batch)` is to be called with every batch that comes on screen.
function epochPlayer(ask, changed) {
  let [update, shown, asked] = [null, null, null]; // asked: the epoch that is to come, 1, 2, …; null while none is played
  let timer = 0;
  const want = (batch, epoch) => {
    [update, shown, asked, timer] = [batch.update, batch.epoch, epoch, 0];
    ask(epoch > batch.epochs ? -1 : epoch - 1);
  };
  const stop = () => {
    clearTimeout(timer);
    timer = 0;
    if (asked === null) return;
    asked = null;
    changed();
  };
  return {
    get playing() {
      return asked !== null;
    },
    start(batch) {
      if (!canPlay(batch)) return;
      want(batch, batch.epoch > batch.epochs ? 1 : batch.epoch + 1);
      changed();
    },
    stop,
    heard(batch) {
      if (asked === null || timer) {
        // While one is looked at, another may be chosen, or another update come: then the playing is over.
        if (timer && (batch.update !== update || batch.epoch !== asked)) stop();
        return;
      }
      if (!canPlay(batch) || batch.update !== update || ![shown, asked].includes(batch.epoch)) stop();
      else if (batch.epoch === asked) {
        if (asked > batch.epochs) stop();
        else timer = setTimeout(() => want(batch, asked + 1), PACE);
      }
    },
  };
}
