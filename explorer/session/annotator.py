"""The annotator in the page: pairs to label, the labels as they are made, and the model that they teach.

Commands and traits belong to the loop. To draw responses, to fit and to choose pairs is the worker's, a little at a
time, so that a run goes on meanwhile; pairs are prepared ahead, so that the next one is on screen at once.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from traitlets import Bool, Dict, HasTraits

from explorer.recipes import learned_judge
from explorer.recording.snapshot import Snapshot
from explorer.session.labels import YOU, Unsaved, open_labels

if TYPE_CHECKING:
    from explorer.ppo.preferences.workbench import Asked, Fitted, Workbench
    from explorer.recording.shelf import Shelf
    from explorer.session.session import Session

#: Pairs that are prepared ahead; and those that stay when the model has learnt more, as the one on screen.
AHEAD, KEPT = 8, 3

#: Where pairs come from, and how they are chosen; the first is the default.
SOURCES, WAYS = ("both", "batch", "fresh"), ("disagreement", "closest", "random")

#: The points of the learning curve that are kept.
MOST_POINTS = 400

#: What the component is called that is made of the fitted model.
NAME = "learned"

#: The most labels that one press has a simulated annotator make, and the most bytes of a file that the page takes in.
MOST_SIMULATED, MOST_BYTES = 1000, 4_000_000


class Annotator(HasTraits):
    """Asks, keeps what is said, and has it fitted.

    Args:
        session: whose responses are asked about, whose worker fits, and whose settings take the component.
        shelf: where the labels are kept; None keeps them as long as the page.
    """

    wanted = Bool(False, help="Whether the annotator is on screen: nothing is drawn or fitted before.")
    state = Dict(help="What the page shows; see explorer.views.annotate.")

    def __init__(self, session: Session, shelf: Shelf | None) -> None:
        super().__init__()
        self._session, self._shelf = session, shelf
        self._labels: Unsaved | None = None
        self._who, self._way, self._source = YOU, WAYS[0], SOURCES[0]
        self._queue: list[tuple[int, Asked]] = []
        self._issued: dict[int, Asked] = {}  # all that may still be on screen, should the browser be ahead of the queue
        self._asked: dict[Any, Asked] = {}  # by its texts: how a pair was chosen, for when it comes back
        self._numbers = 0
        self._fitted: Fitted | None = None
        self._curve: list[tuple[int, float | None, float | None]] = []  # decided labels, right in training, held out
        self._seen: tuple[Any, ...] = ()  # what the last fit and the last choice were made of
        self._bench: Workbench | None = None  # the worker's
        self._measured = self._busy = self._tuning = False
        self.observe(self._look, "wanted")
        session.observe(self._look, "phase")
        session.observe(self._follow_settings, "config")

    # ------------------------------------------------------------------ commands

    def choose(self, number: int, choice: str) -> None:
        """Label a pair: "a", "b", "tie" or "skip". A pair that is not there any more is passed over.

        Raises:
            PreferenceError: there is no such choice, or the label cannot be saved; the pair stays.
        """
        from explorer.ppo.preferences.comparisons import Comparison

        asked = self._issued.get(number)
        if asked is None:
            return
        self._open().append(Comparison(asked.prompt, asked.a, asked.b, choice))
        del self._issued[number]
        self._asked[asked.texts] = asked
        self._queue = [(n, pair) for n, pair in self._queue if n != number]
        self._look()

    def undo(self) -> None:
        """Take the newest label back, and ask about its pair again.

        Raises:
            PreferenceError: the file cannot be changed; nothing is taken back.
        """
        from explorer.ppo.preferences.workbench import Asked

        taken = self._open().undo()
        if taken is None:
            return
        pair = Asked(taken.prompt, taken.a, taken.b, "", "", 0)
        self._queue.insert(0, self._issue(self._asked.get(pair.texts, pair)))
        self._look()

    def follow(self, **choices: str) -> None:
        """Choose pairs otherwise: ``way`` of WAYS, ``source`` of SOURCES, ``who`` labels: "you", or a rule.

        Raises:
            ValueError: there is no such choice.
        """
        from explorer.ppo.preferences.rules import RULES

        offered = {"way": WAYS, "source": SOURCES, "who": (YOU, *RULES)}
        for name, value in choices.items():
            if value not in offered[name]:
                raise ValueError(f"{name} is {value!r}, but must be one of {', '.join(offered[name])}.")
        if choices.get("who", self._who) != self._who:
            labels = open_labels(self._shelf, choices["who"])
            self._who, self._labels, self._fitted, self._curve = choices["who"], labels, None, []
        self._way, self._source = choices.get("way", self._way), choices.get("source", self._source)
        self._queue = self._queue[:1]
        self._look()

    def simulate(self, count: int, noise: float = 0.0) -> None:
        """Have the simulated annotator that was chosen label so many pairs, which are drawn at random.

        Args:
            count: from 1 to 1000.
            noise: how often it says the opposite of what its rule says.

        Raises:
            ValueError: a number is out of its range, or the reader labels.
        """
        from explorer.ppo.preferences.annotator import SimulatedAnnotator

        if self._who == YOU:
            raise ValueError("You are the annotator: choose a rule first, and it labels.")
        if type(count) is not int or not 1 <= count <= MOST_SIMULATED:
            raise ValueError(f"{count} pairs cannot be labelled at once: give a number from 1 to {MOST_SIMULATED}.")
        session, who, first = self._session, self._who, len(self._open().comparisons)
        annotator = SimulatedAnnotator(rule=who, noise=noise, seed=session.config.seed)

        def job() -> None:
            made = self._bench_now().label(annotator, count, first)
            session.loop.post(self._take_labels, who, made)

        session.worker.submit(job)

    def take_in(self, content: str) -> tuple[int, list[str]]:
        """Add the labels of a JSONL file.

        Returns:
            How many were added, and for each bad line what is wrong with it.

        Raises:
            PreferenceError: the file is too long, or what is in it cannot be saved.
        """
        from explorer.ppo.preferences.comparisons import PreferenceError
        from explorer.ppo.preferences.label_file import labels_in

        raw = content.encode("utf-8", "surrogatepass")
        if len(raw) > MOST_BYTES:
            raise PreferenceError(f"The file has {len(raw)} bytes, and the page takes {MOST_BYTES}: cut it up.")
        found = labels_in(raw)
        if found.comparisons:
            self._open().extend(found.comparisons)
        self._look()
        return len(found.comparisons), [str(line) for line in found.bad]

    def as_lines(self) -> str:
        """All labels as JSONL."""
        return "".join(label.to_line() for label in self._open().comparisons)

    def train_on_it(self, weight: float | None = None) -> None:
        """Make the fitted model a component of the reward, from the next update on; one that is there is replaced.

        Args:
            weight: None keeps the weight that it has, or is 1 where it has none or 0.

        Raises:
            ValueError: nothing has been fitted, or the name is taken by another component.
        """
        recipe = None if self._fitted is None else self._fitted.recipe
        if recipe is None:
            raise ValueError("There is no fitted model yet: label a few more pairs first.")
        name, config = self.component, self._session.config
        there = name in config.components
        # A weight of 0, as a preset leaves it where it brings others, would train on nothing.
        if there and weight is None and config.weights[name] == 0 and config.judge != name:
            weight = 1.0
        self._session.components.put(name, recipe, weight, was=name if there else "")
        self._publish()

    def tune(self) -> None:
        """Tune the trunk that the fitted model reads to the labels; with the next label it is frozen again.

        Raises:
            ValueError: nothing has been fitted, or to too few labels.
        """
        from explorer.ppo.preferences.tuned_trunk import MIN_DECIDED

        if self._fitted is None or self._fitted.recipe is None:
            raise ValueError("There is no fitted model yet: label a few more pairs first.")
        if (decided := self._fitted.summary["decided"]) < MIN_DECIDED:
            raise ValueError(
                f"A trunk is tuned to at least {MIN_DECIDED} choices, and there are {decided}: label more."
            )
        if self._tuning:
            return
        session, seen = self._session, self._seen
        labels, *_, apart, _ = seen

        def job() -> None:
            fitted = None
            try:
                fitted = self._bench_now().tune(labels, apart)
            finally:
                session.loop.post(self._take_tuned, seen, fitted)

        self._tuning = True
        self._publish()
        session.worker.submit(job)

    def hold_out(self) -> None:
        """Make a model of its own the held-out judge, fitted to pairs that are not trained on.

        Those are the pairs that no component with a weight was taught by, where at least five of them are decided, and
        every second one else; from then on the fitted model leaves the judge's pairs out, as long as it judges.

        Raises:
            PreferenceError: too few labels are decided for a judge.
        """
        from explorer.ppo.preferences.splitting import judges_share

        taught: frozenset[bytes] = frozenset().union(*(names or () for names in self._taught_by().values()))
        share, session = judges_share(self._open().comparisons, taught), self._session

        def job() -> None:
            session.loop.post(self._take_judge, self._bench_now().fit_judge(share))

        session.worker.submit(job)

    @property
    def component(self) -> str:
        """The name of the component that is, or would be, the fitted model."""
        config = self._session.config
        learnt = [name for name, recipe in config.components.items() if recipe["kind"] == "learned"]
        return max(learnt, key=lambda name: config.weights[name] != 0, default=NAME)  # the first of those that count

    def _taught_by(self) -> dict[str, frozenset[bytes] | None]:
        """By component that counts, the pairs whose labels taught it; None where it does not say which."""
        from explorer.ppo.preferences.splitting import unpacked

        config = self._session.config
        return {
            name: unpacked(recipe)
            for name, recipe in config.components.items()
            if recipe["kind"] == "learned" and config.weights[name] and name not in config.set_aside
        }

    def _judge(self) -> dict[str, Any] | None:
        """A judge that was learnt: ``{decided, held_out, pairs, shared}``; None where there is no such judge.

        ``pairs`` is how many it was fitted to and ``shared`` how many of them taught what is trained on, each None
        where a model does not say.
        """
        from explorer.ppo.preferences.splitting import unpacked

        recipe = learned_judge(self._session.config.judge)
        if recipe is None:
            return None
        own, taught = unpacked(recipe), self._taught_by().values()
        known = own is not None and all(names is not None for names in taught)
        shared = len(own & frozenset().union(*taught)) if known else None  # type: ignore[operator,arg-type]
        told = {name: recipe.get(name) for name in ("decided", "held_out")}
        return {**told, "pairs": None if own is None else len(own), "shared": shared}

    def _apart(self) -> frozenset[bytes]:
        """The pairs of a judge that was learnt, whose labels are not fitted to."""
        from explorer.ppo.preferences.splitting import unpacked

        recipe = learned_judge(self._session.config.judge)
        return frozenset() if recipe is None else unpacked(recipe) or frozenset()

    # ------------------------------------------------------------------ on the loop

    def _follow_settings(self, change: Any) -> None:
        """Another judge has other pairs, and another component may share some of them."""
        before, now = change["old"], change["new"]
        if before.judge != now.judge or before.components != now.components or before.weights != now.weights:
            self._look()

    def _take_tuned(self, seen: tuple[Any, ...], fitted: Fitted | None) -> None:
        """What was tuned to labels that have changed meanwhile is of no use."""
        self._tuning = False
        if fitted is not None and seen == self._seen:
            self._fitted = fitted
        self._publish()

    def _take_judge(self, recipe: dict[str, Any]) -> None:
        try:
            self._session.set(judge=recipe)
        except ValueError as error:
            self._session.report(error)

    def _open(self) -> Unsaved:
        if self._labels is None:
            self._labels = open_labels(self._shelf, self._who)
        return self._labels

    def _issue(self, pair: Asked) -> tuple[int, Asked]:
        self._numbers += 1
        self._issued[self._numbers] = pair
        waiting = {number for number, _ in self._queue}
        for number in [number for number in self._issued if number not in waiting][: -4 * AHEAD]:
            del self._issued[number]
        return self._numbers, pair

    def _look(self, change: Any = None) -> None:
        """Have done what is to be done, and say where things stand."""
        if not self.wanted or self._session.phase != "ready":  # the worker loads PyTorch, which labels take
            return
        try:
            labels = tuple(self._open().comparisons)
        except ValueError as error:
            self._session.report(error)
            return
        now = (labels, self._way, self._source, self._who, self._apart(), self._measured)
        if not self._busy and (now != self._seen or not self._measured):
            self._busy, self._seen = True, now
            self._session.worker.submit(self._working(now))
        self._publish()

    def _working(self, now: tuple[Any, ...]) -> Any:
        session, recorded = self._session, self._session.recorded
        labels, way, source, who, apart, _ = now
        kept = [pair.texts for _, pair in self._queue[:KEPT]]
        snapshot = recorded if isinstance(recorded, Snapshot) and source != "fresh" else None
        made_by = session.components.made_by()

        def job() -> None:
            found: tuple[Any, ...] = (None, [], False)
            try:
                bench = self._bench_now()
                bench.draw_some()
                trainer = session.engine.trainer
                if source != "batch":
                    bench.refresh(trainer.policy, trainer.updates)
                fitted = bench.fit(labels, apart)
                batch = None
                if snapshot is not None and session.engine.batches.has_made(made_by):
                    batch = snapshot.update, session.engine.batches.texts_of(snapshot)
                done = [*kept, *(frozenset([(c.prompt, c.a), (c.prompt, c.b)]) for c in labels)]
                found = (fitted, bench.choose(AHEAD, way, batch, source != "batch", done), bench.measured)
            finally:
                session.loop.post(self._take, who, *found)

        return job

    def _bench_now(self) -> Workbench:
        """The worker's: responses and features of the policy as it is loaded."""
        from explorer.ppo.preferences.workbench import Workbench

        engine = self._session.engine
        reference = engine.trainer.reference
        if self._bench is None or self._bench.reference is not reference:
            self._bench = Workbench(reference, engine.prompts, self._session.config)
        self._bench.prompts = list(engine.prompts)
        return self._bench

    def _take(self, who: str, fitted: Fitted | None, chosen: list[Asked], measured: bool) -> None:
        self._busy = False
        if who != self._who:
            self._seen = ()
        elif fitted is not None:
            # With the first model only the pair on screen stays: the others were chosen without one.
            began = fitted.recipe is not None and (self._fitted is None or self._fitted.recipe is None)
            self._fitted, self._measured = fitted, measured
            self._note(fitted.summary)
            said = {frozenset([(c.prompt, c.a), (c.prompt, c.b)]) for c in self._open().comparisons}
            kept = self._queue[: 1 if began else KEPT]
            there = said | {pair.texts for _, pair in kept}
            others = [pair for pair in chosen if pair.texts not in there]
            self._queue = [*kept, *(self._issue(pair) for pair in others[: AHEAD - len(kept)])]
        if fitted is not None:
            self._look()
        else:
            self._publish()

    def _note(self, summary: dict[str, Any]) -> None:
        """One more point of the learning curve; after an undo it goes on from there."""
        if "train" in summary:
            point = (summary["decided"], summary["train"]["accuracy"], summary["held_out"]["accuracy"])
            self._curve = [*(known for known in self._curve if known[0] < point[0]), point][-MOST_POINTS:]

    def _take_labels(self, who: str, made: list[Any]) -> None:
        if who == self._who:
            try:
                self._open().extend(made)
            except ValueError as error:
                self._session.report(error)
        self._look()

    def _publish(self) -> None:
        labels = self._open()
        self.state = {
            "who": self._who,
            "way": self._way,
            "source": self._source,
            "queue": [{"id": number, **dataclasses.asdict(pair)} for number, pair in self._queue],
            "labels": len(labels.comparisons),
            "undo": bool(labels.comparisons),
            "saved": None if labels.path is None else str(labels.path),
            "bad": [str(line) for line in labels.bad],
            "measured": self._measured,
            "busy": self._busy,
            "tuning": self._tuning,
            "curve": [list(point) for point in self._curve],
            "fitted": {} if self._fitted is None else self._fitted.summary,
            "recipe": None if self._fitted is None else self._fitted.recipe,
            "judge": self._judge(),
        }
