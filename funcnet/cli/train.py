"""The main job: train a multilayer perceptron on images, and save what came of it.

The defaults (widths, learning rate, epochs, label smoothing) were chosen by five-fold
cross-validation on the training images. The test images took no part in any choice: their accuracy
is shown after each epoch, but neither ends the training nor picks an epoch.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax

from funcnet.cli.curve import draw_learning_curve
from funcnet.cli.folder import Run, check_writable, save_run
from funcnet.cli.gradient_cost import gradient_cost_table
from funcnet.cli.terminal import Failure, Interruption, Output, complain, one_line, progress
from funcnet.data import Dataset, Split, load_digits, load_npz, split_by_class
from funcnet.layers import Layer, summary
from funcnet.models import mlp
from funcnet.primitives import softmax_cross_entropy
from funcnet.training import Step, TrainState, fit, init_train_state, make_epoch
from funcnet.typing import Array, Params

__all__ = ["MOST_SEEDS", "Options", "mean_and_interval", "train"]

# The 97.5 % quantile of Student's t for 1, 2, ... degrees of freedom.
_STUDENT_T = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093),
)

MOST_SEEDS = len(_STUDENT_T) + 1
"""The largest number of seeds in one call."""

_PICTURE_BYTES = 200_000  # about what a learning curve and the metrics take
_PROBE_BYTES = 2**26  # more than that is not written to try a folder


@dataclass(frozen=True)
class Options:
    """The options of the command, with their defaults."""

    epochs: int = 60
    batch_size: int = 64
    learning_rate: float = 0.003
    hidden: tuple[int, ...] = (128, 128)
    label_smoothing: float = 0.1
    seed: int = 0
    seeds: int = 1
    data: Path | None = None
    out: Path = Path("funcnet-run")
    quiet: bool = False


def train(options: Options) -> int:
    """Do the job.

    Returns:
        The exit status: 0, 1 when something failed after the training, or 130 after Ctrl-C.

    Raises:
        FuncnetError: When the data or the output folder are not usable, or nothing could be saved.
        OSError: When the data cannot be read.
    """
    output = Output(options.quiet)
    with Interruption() as interruption:
        job = _Job(options, output, interruption)
        output.line(str(summary(job.net, job.data.train.images[: options.batch_size])))
        output.line()
        start = time.perf_counter()
        try:
            for seed in range(options.seed, options.seed + options.seeds):
                if not job.stopped:
                    job.train_seed(seed)
        except KeyboardInterrupt:  # pressed twice; the seeds that are finished are not lost
            if not job.runs:
                raise
        status = job.save(time.perf_counter() - start)
        if status == 0 and not options.quiet:
            output.line()
            output.line(str(gradient_cost_table(job.loss, job.runs[0].params, job.first_batch())))
        if interruption.pressed:
            return 130
        if output.failure is not None:
            complain(
                f"error: the standard output broke off ({one_line(output.failure)}); "
                f"the run is saved in {job.folder}"
            )
            return 1
        return status


class _Job:
    """One call of the command: what is set up once, and the runs that are finished."""

    def __init__(self, options: Options, output: Output, interruption: Interruption) -> None:
        self.options, self.output, self.interruption = options, output, interruption
        self.data = _load(options)
        count = len(self.data.train.labels)
        if options.batch_size > count:
            raise Failure(
                f"--batch-size {options.batch_size} is more than the {count} training images"
            )
        classes = int(self.data.train.labels.max()) + 1
        self.net: Layer = mlp(options.hidden, classes)
        self.optimizer = _optimizer(options, count)
        self.epoch: Step = make_epoch(self.loss, self.optimizer, options.batch_size)
        self.evaluate = jax.jit(self._evaluate)
        self.runs: list[Run] = []
        self.folder: Path | None = None
        self.diverged = False
        sizes = jax.eval_shape(self.net.init, jax.random.key(0), self.first_batch().images)
        bytes_per_seed = sum(4 * leaf.size for leaf in jax.tree.leaves(sizes))
        needed = _PICTURE_BYTES + options.seeds * bytes_per_seed
        check_writable(options.out, min(needed, _PROBE_BYTES))

    @property
    def stopped(self) -> bool:
        """Whether no further epoch shall be trained."""
        return self.diverged or self.interruption.pressed

    def loss(self, params: Params, batch: Dataset) -> Array:
        """The loss of each image of a batch."""
        logits = self.net.apply(params, batch.images)
        smoothing = self.options.label_smoothing
        return softmax_cross_entropy(logits, batch.labels, label_smoothing=smoothing)

    def first_batch(self) -> Dataset:
        """The first training images, as many as a batch has."""
        train = self.data.train
        return Dataset(*(jnp.asarray(a[: self.options.batch_size]) for a in train))

    def _evaluate(self, params: Params, data: Dataset) -> tuple[Array, Array]:
        """Mean loss and accuracy on a data set."""
        right = jnp.argmax(self.net.apply(params, data.images), axis=-1) == data.labels
        return jnp.mean(self.loss(params, data)), jnp.mean(right.astype(jnp.float32))

    def train_seed(self, seed: int) -> None:
        """Train with one seed, and add what came of it to the runs."""
        key_init, key_train = jax.random.split(jax.random.key(seed))
        params = self.net.init(key_init, self.first_batch().images)
        state = init_train_state(self.optimizer, params, key=key_train)
        test = jax.tree.map(jnp.asarray, self.data.test)
        with progress(self.output, f"seed {seed}", self.options.epochs) as show:

            def after_epoch(epoch: int, state: TrainState, metrics: dict[str, float]) -> bool:
                loss, accuracy = self.evaluate(state.params, test)
                metrics |= {"test_loss": float(loss), "test_accuracy": float(accuracy)}
                show(epoch, f"loss {metrics['loss']:.4f}  test accuracy {accuracy:.2%}")
                self.diverged = not math.isfinite(metrics["loss"])
                return self.stopped

            state, history = fit(
                self.epoch, state, self.data.train, epochs=self.options.epochs, callback=after_epoch
            )
        self.runs.append(Run(seed, jax.device_get(state.params), history))

    def save(self, seconds: float) -> int:
        """Save the runs and say where; the exit status."""
        finished = not self.stopped and len(self.runs) == self.options.seeds
        result = self._result(seconds, finished)
        saved = save_run(self.options.out, self.runs, result, self._draw)
        self.folder = saved.folder
        for problem in saved.problems:
            complain(f"error: {problem}")
        self._tell_accuracy(seconds)
        where = f"saved in {saved.folder}: {', '.join(saved.files)}"
        if self.diverged:
            epoch = len(self.runs[-1].history)
            complain(
                f"error: the loss is not finite in epoch {epoch}; "
                f"try a smaller --learning-rate; {where}"
            )
            return 1
        if not finished:
            complain(f"interrupted; {where}")
            return 130
        if saved.problems:
            complain(where)
            return 1
        self.output.line(where, important=True)
        return 0

    def _tell_accuracy(self, seconds: float) -> None:
        """The test accuracy of each seed and, of several, their mean."""
        total, wanted = len(self.data.test.labels), self.options.epochs
        self.output.line()
        for run in self.runs:
            accuracy, epochs = run.history[-1]["test_accuracy"], len(run.history)
            after = f"{epochs} epochs" if epochs == wanted else f"{epochs} of {wanted} epochs"
            self.output.line(
                f"seed {run.seed}: test accuracy {accuracy:.2%} "
                f"({round(accuracy * total)} of {total} images) after {after}",
                important=True,
            )
        if len(self.runs) > 1:
            mean, half = mean_and_interval([r.history[-1]["test_accuracy"] for r in self.runs])
            assert half is not None
            self.output.line(
                f"mean of {len(self.runs)} seeds: {mean:.2%}, "
                f"95 % interval {mean - half:.2%} to {mean + half:.2%}",
                important=True,
            )
        self.output.line(f"trained in {seconds:.1f} s, compilation included")

    def _result(self, seconds: float, finished: bool) -> dict[str, Any]:
        """What goes into the file of the result."""
        accuracies = [run.history[-1]["test_accuracy"] for run in self.runs]
        mean, half = mean_and_interval(accuracies)
        return {
            "finished": finished,
            "test_accuracy": mean,
            "test_accuracy_interval_95": None if half is None else [mean - half, mean + half],
            "runs": [
                {"seed": run.seed, "epochs": len(run.history)} | run.history[-1]
                for run in self.runs
            ],
            "seconds": round(seconds, 3),
            "options": {
                name: str(value) if isinstance(value, Path) else value
                for name, value in dataclasses.asdict(self.options).items()
            },
        }

    def _draw(self) -> bytes:
        widths = [self.data.train.images.shape[1], *self.options.hidden]
        name = "-".join(map(str, [*widths, int(self.data.train.labels.max()) + 1]))
        source = "handwritten digits" if self.options.data is None else self.options.data.name
        seeds = f"seed {self.runs[0].seed}" if len(self.runs) == 1 else f"{len(self.runs)} seeds"
        return draw_learning_curve(self.runs, f"MLP {name} on {source}, {seeds}")


def mean_and_interval(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean of some values, and half the width of its 95 % confidence interval.

    Student's: ``t(n - 1) s / sqrt(n)``. None for a single value, which tells nothing of the spread.
    """
    mean, n = statistics.fmean(values), len(values)
    if n == 1:
        return mean, None
    return mean, _STUDENT_T[n - 2] * statistics.stdev(values) / math.sqrt(n)


def _load(options: Options) -> Split:
    """The data that was asked for, with each image as one row."""
    split = load_digits() if options.data is None else split_by_class(load_npz(options.data))
    return Split(split.train.rows(), split.test.rows())


def _optimizer(options: Options, count: int) -> optax.GradientTransformation:
    """Adam, with a learning rate that falls to 0 over the training as half a cosine does."""
    steps = options.epochs * (count // options.batch_size)
    return optax.adam(optax.cosine_decay_schedule(options.learning_rate, steps))
