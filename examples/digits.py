"""Reading handwritten digits with a training loop in plain view.

The command ``funcnet`` does the same and more; here every step can be seen: the data, the
network, the loss of each image, one jitted step, and a loop over shuffled batches.

Run it with ``python examples/digits.py``.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from funcnet.data import Dataset, load_digits
from funcnet.layers import summary
from funcnet.models import mlp
from funcnet.primitives import softmax_cross_entropy
from funcnet.training import init_train_state, load_params, make_step, save_params

EPOCHS, BATCH_SIZE = 20, 64

net = mlp([128, 128], 10)


def loss(params, batch):
    """One value per image; the step takes the mean."""
    logits = net.apply(params, batch.images)
    return softmax_cross_entropy(logits, batch.labels, label_smoothing=0.1)


@jax.jit
def accuracy(params, data):
    right = net.apply(params, data.images).argmax(axis=-1) == data.labels
    return right.astype(jnp.float32).mean()


def shuffled_batches(data, rng):
    """The whole batches of one pass over the data, in a new order."""
    order = rng.permutation(len(data.labels))
    for start in range(0, len(order) - BATCH_SIZE + 1, BATCH_SIZE):
        chosen = order[start : start + BATCH_SIZE]
        yield Dataset(data.images[chosen], data.labels[chosen])


def picture(image):
    """An image of 64 pixels as text."""
    return "\n".join(
        "".join(" .:*#"[int(4 * pixel)] * 2 for pixel in row) for row in image.reshape(8, 8)
    )


def main():
    digits = load_digits()
    train, test = digits.train.rows(), digits.test.rows()
    print(picture(test.images[0]))
    print(f"the first test image is a {test.labels[0]}\n")

    params = net.init(jax.random.key(0), train.images[:BATCH_SIZE])
    print(summary(net, train.images[:BATCH_SIZE]), "\n")

    optimizer = optax.adam(1e-3)
    state = init_train_state(optimizer, params)
    step = make_step(loss, optimizer)
    rng = np.random.default_rng(0)
    for epoch in range(1, EPOCHS + 1):
        losses = []
        for batch in shuffled_batches(train, rng):
            state, metrics = step(state, batch)
            losses.append(metrics["loss"])
        if epoch == 1 or epoch % 5 == 0:
            print(
                f"epoch {epoch:2}  loss {np.mean(losses):.4f}  "
                f"test accuracy {accuracy(state.params, test):.2%}"
            )

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.safetensors"
        save_params(path, state.params)
        again = load_params(path)
        print(
            f"\nsaved and loaded {path.stat().st_size:,} bytes: "
            f"test accuracy {accuracy(again, test):.2%}"
        )

    logits = net.apply(again, test.images)
    wrong = np.flatnonzero(np.asarray(logits.argmax(axis=-1)) != test.labels)
    print(f"{len(wrong)} of {len(test.labels)} test images are read wrongly", end="")
    if len(wrong):
        first = int(wrong[0])
        print(f"; the first is this {test.labels[first]}, read as {int(logits[first].argmax())}:")
        print(picture(test.images[first]))
    return float(accuracy(again, test))


if __name__ == "__main__":
    main()
