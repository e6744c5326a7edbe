"""Workers: they do as they are told, one stage at a time. Events stand for time; nothing here sleeps."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from explorer.session.worker import InlineWorker, ThreadWorker

#: Seconds after which a test gives up waiting; never waited for where all is well.
PATIENCE = 10

#: Stages in one update.
STAGES = 3


class Update:
    """A counted stand-in for the trainer: three stages an update. Behind a gate, each stage waits to be let through."""

    def __init__(self, *, gated: bool = False) -> None:
        self.finished = 0
        self.started = threading.Semaphore(0)
        self.gate = threading.Semaphore(0) if gated else None
        self.fails_at: int | None = None
        self.threads: set[int] = set()

    def advance(self) -> bool:
        self.threads.add(threading.get_ident())
        self.started.release()
        if self.gate is not None:
            assert self.gate.acquire(timeout=PATIENCE)
        if self.fails_at == self.finished + 1:
            self.fails_at = None
            raise ArithmeticError(f"stage {self.finished + 1}")
        self.finished += 1
        return self.finished % STAGES == 0

    def has_started(self) -> bool:
        """Wait for a stage to begin."""
        return self.started.acquire(timeout=PATIENCE)

    def let_through(self) -> None:
        """Let one stage finish."""
        assert self.gate is not None
        self.gate.release()


class Watched(ThreadWorker):
    """A worker that can be waited for."""

    def __init__(self, update: Update) -> None:
        self.errors: list[tuple[BaseException, str]] = []
        self.failed, self.paused = threading.Event(), threading.Event()
        super().__init__(update.advance, self._note, self.paused.set)

    def _note(self, error: BaseException) -> None:
        self.errors.append((error, self.mode))
        self.failed.set()

    def pauses(self) -> bool:
        """Wait until it has paused by itself."""
        found = self.paused.wait(PATIENCE)
        self.paused.clear()
        return found

    def settle(self) -> None:
        """Wait until two jobs have run: had it anything else to do, a stage would lie between them."""
        for _ in range(2):
            done = threading.Event()
            self.submit(done.set)
            assert done.wait(PATIENCE)


@pytest.fixture
def update() -> Update:
    return Update()


@pytest.fixture
def gated() -> Update:
    return Update(gated=True)


@pytest.fixture
def worker(update: Update) -> Iterator[Watched]:
    yield from _running(update)


@pytest.fixture
def gated_worker(gated: Update) -> Iterator[Watched]:
    yield from _running(gated)


def _running(update: Update) -> Iterator[Watched]:
    worker = Watched(update)
    yield worker
    worker.stop()
    if update.gate is not None:
        update.gate.release(100)
    assert worker.join(PATIENCE)


# --- in a thread ---


def test_it_waits_to_be_told(worker: Watched, update: Update) -> None:
    worker.settle()
    assert worker.mode == "paused"
    assert update.finished == 0


def test_it_runs_in_one_thread_of_its_own(worker: Watched, update: Update) -> None:
    where: list[int] = []
    for _ in range(2):
        worker.step_stage()
        assert worker.pauses()
    worker.submit(lambda: where.append(threading.get_ident()))
    worker.settle()
    assert update.threads == set(where)
    assert threading.get_ident() not in update.threads


def test_step_a_stage(worker: Watched, update: Update) -> None:
    for finished in (1, 2, 3, 4):
        worker.step_stage()
        assert worker.pauses()
        worker.settle()
        assert (update.finished, worker.mode) == (finished, "paused")


def test_step_an_update(worker: Watched, update: Update) -> None:
    worker.step_update()
    assert worker.pauses()
    assert update.finished == STAGES
    worker.step_stage()
    assert worker.pauses()
    worker.step_update()  # goes on to the end of the update that was begun
    assert worker.pauses()
    worker.settle()
    assert (update.finished, worker.mode) == (2 * STAGES, "paused")


@pytest.mark.parametrize("updates", [1, 2, 7])
def test_run_for_so_many_updates(updates: int, worker: Watched, update: Update) -> None:
    worker.run(updates)
    assert worker.pauses()
    worker.settle()
    assert (update.finished, worker.mode) == (updates * STAGES, "paused")


def test_run_counts_anew_each_time(worker: Watched, update: Update) -> None:
    for _ in range(2):
        worker.run(2)
        assert worker.pauses()
    worker.settle()
    assert update.finished == 4 * STAGES


def test_run_goes_on_until_it_is_paused(gated_worker: Watched, gated: Update) -> None:
    gated_worker.run()
    for _ in range(5 * STAGES):
        assert gated.has_started()
        gated.let_through()
    assert gated.has_started()
    assert gated_worker.mode == "running"


def test_pause_answers_within_the_stage_that_is_running(gated_worker: Watched, gated: Update) -> None:
    gated_worker.run()
    assert gated.has_started()
    gated_worker.pause()
    assert gated_worker.mode == "paused"  # answered at once
    gated.let_through()
    gated_worker.settle()
    assert gated.finished == 1  # the stage was finished, and no other begun
    gated_worker.run()  # and on it goes
    assert gated.has_started()


def test_what_was_told_last_counts(gated_worker: Watched, gated: Update) -> None:
    gated_worker.run()
    assert gated.has_started()
    gated_worker.pause()
    gated_worker.step_update()
    for _ in range(2):
        gated.let_through()
        assert gated.has_started()
    gated.let_through()
    assert gated_worker.pauses()
    gated_worker.settle()
    assert gated.finished == STAGES


def test_jobs_run_in_the_order_in_which_they_came(gated_worker: Watched, gated: Update) -> None:
    gated_worker.step_stage()
    assert gated.has_started()  # so they all have to wait
    order: list[int] = []
    for number in range(20):
        gated_worker.submit(lambda number=number: order.append(number))  # type: ignore[misc]
    assert order == []  # never in the middle of a stage
    gated.let_through()
    gated_worker.settle()
    assert order == list(range(20))


def test_a_job_comes_before_the_next_stage(gated_worker: Watched, gated: Update) -> None:
    gated_worker.run()
    assert gated.has_started()
    finished_when: list[int] = []
    done = threading.Event()
    gated_worker.submit(lambda: finished_when.append(gated.finished))
    gated_worker.submit(done.set)
    gated.let_through()
    assert done.wait(PATIENCE)
    assert finished_when == [1]
    assert gated.has_started()  # and training went on by itself


def test_jobs_run_while_it_is_paused(worker: Watched, update: Update) -> None:
    done = threading.Event()
    worker.submit(done.set)
    assert done.wait(PATIENCE)
    assert (update.finished, worker.mode) == (0, "paused")


def test_an_error_pauses_and_is_reported_and_the_thread_lives(worker: Watched, update: Update) -> None:
    update.fails_at = 2
    worker.run()
    assert worker.failed.wait(PATIENCE)
    ((error, mode),) = worker.errors
    assert (str(error), mode) == ("stage 2", "paused")  # paused by the time it is told
    worker.settle()
    assert update.finished == 1
    worker.step_stage()
    assert worker.pauses()
    assert update.finished == 2


def test_a_job_that_fails_is_reported_and_training_goes_on(gated_worker: Watched, gated: Update) -> None:
    gated_worker.run()
    assert gated.has_started()

    def fail() -> None:
        raise LookupError("job")

    gated_worker.submit(fail)
    gated.let_through()
    assert gated_worker.failed.wait(PATIENCE)
    ((error, mode),) = gated_worker.errors
    assert (str(error), mode) == ("job", "running")


def test_stop_ends_the_thread(worker: Watched, update: Update) -> None:
    worker.stop()
    assert worker.join(PATIENCE)
    worker.run()
    worker.step_stage()
    assert worker.mode == "stopped"
    assert update.finished == 0


def test_stop_lets_the_running_stage_finish(gated_worker: Watched, gated: Update) -> None:
    gated_worker.run()
    assert gated.has_started()
    gated_worker.stop()
    assert not gated_worker.join(0)
    gated.let_through()
    assert gated_worker.join(PATIENCE)
    assert gated.finished == 1


def test_a_stopped_worker_that_fails_stays_stopped(gated_worker: Watched, gated: Update) -> None:
    gated.fails_at = 1
    gated_worker.run()
    assert gated.has_started()
    gated_worker.stop()
    gated.let_through()
    assert gated_worker.join(PATIENCE)
    assert [(str(error), mode) for error, mode in gated_worker.errors] == [("stage 1", "stopped")]


def test_slow_motion_waits_between_stages_and_wakes_at_once(worker: Watched, update: Update) -> None:
    worker.slow_seconds = 4.0 * PATIENCE
    worker.run()
    assert update.has_started()
    worker.settle()  # jobs do not wait for the next stage
    worker.pause()
    worker.settle()
    assert worker.mode == "paused"
    worker.run()
    worker.stop()
    assert worker.join(PATIENCE)


# --- in the caller ---


@pytest.fixture
def inline(update: Update) -> InlineWorker:
    def fail(error: BaseException) -> None:
        raise AssertionError("unexpected") from error

    return InlineWorker(update.advance, fail)


def test_inline_it_returns_when_it_is_done(inline: InlineWorker, update: Update) -> None:
    inline.run(2)
    assert (update.finished, inline.mode) == (2 * STAGES, "paused")
    inline.step_stage()
    assert update.finished == 2 * STAGES + 1
    inline.step_update()
    assert (update.finished, inline.mode) == (3 * STAGES, "paused")
    assert update.threads == {threading.get_ident()}


def test_inline_it_never_runs_for_ever(inline: InlineWorker, update: Update) -> None:
    with pytest.raises(ValueError, match="say for how many updates"):
        inline.run()
    assert update.finished == 0


def test_inline_a_callback_can_pause_it(update: Update) -> None:
    def advance() -> bool:
        ended = update.advance()
        if update.finished == 4:
            inline.pause()
        return ended

    inline = InlineWorker(advance, lambda error: None)
    inline.run(5)
    assert (update.finished, inline.mode) == (4, "paused")


def test_inline_an_error_pauses_and_is_reported(update: Update) -> None:
    errors: list[tuple[str, str]] = []
    inline = InlineWorker(update.advance, lambda error: errors.append((str(error), inline.mode)))
    update.fails_at = 2
    inline.run(1)
    assert errors == [("stage 2", "paused")]
    assert update.finished == 1
    inline.submit([].pop)
    assert len(errors) == 2
    inline.run(1)
    assert update.finished == STAGES


def test_inline_jobs_run_at_once(inline: InlineWorker) -> None:
    done: list[int] = []
    inline.submit(lambda: done.append(1))
    assert done == [1]


def test_inline_it_says_when_it_has_paused(update: Update) -> None:
    paused: list[int] = []
    inline = InlineWorker(update.advance, lambda error: None, lambda: paused.append(update.finished))
    inline.run(2)
    inline.step_stage()
    assert paused == [2 * STAGES, 2 * STAGES + 1]


def test_inline_stopped_is_stopped(inline: InlineWorker, update: Update) -> None:
    inline.stop()
    inline.run(1)
    inline.step_stage()
    inline.step_update()
    assert (update.finished, inline.mode) == (0, "stopped")
