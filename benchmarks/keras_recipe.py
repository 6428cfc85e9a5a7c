"""Train the source's network as the source does, with Keras, until a test accuracy is reached.

Run by `training.py` with a Python that has TensorFlow: it knows nothing of this project, and prints
one line of JSON for each epoch.
"""

import json
import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import layers


def main(file: str, seed: int, goal: float, most: int) -> None:
    """Train from the arrays in a file, for as many epochs as it takes, `most` at most."""
    keras.utils.set_random_seed(seed)
    with np.load(file) as data:
        x_train, y_train, x_test, y_test = (data[name] for name in data.files)
    model = keras.models.Sequential(
        [
            layers.Input(shape=(28, 28, 1)),
            layers.Conv2D(32, kernel_size=(3, 3), padding="same", activation="relu"),
            layers.MaxPooling2D(pool_size=(2, 2)),
            layers.Conv2D(64, kernel_size=(3, 3), padding="same", activation="relu"),
            layers.MaxPooling2D(pool_size=(2, 2)),
            layers.Flatten(),
            layers.Dense(64),
            layers.Dropout(0.5),
            layers.Dense(10),
        ]
    )
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        optimizer=keras.optimizers.Adam(),
        metrics=["accuracy"],
    )
    for epoch in range(1, most + 1):
        began = time.perf_counter()
        model.fit(x_train, y_train, batch_size=256, epochs=1, verbose=0)
        seconds = time.perf_counter() - began
        _, accuracy = model.evaluate(x_test, y_test, batch_size=1000, verbose=0)
        row = {"epoch": epoch, "seconds": seconds, "accuracy": float(accuracy)}
        print(json.dumps(row | {"parameters": model.count_params()}), flush=True)
        if accuracy >= goal:
            return


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
