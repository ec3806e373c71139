"""Trains and predicts with simpletransformers, in an environment of its own: WORKER CLASSIFIER FOLDER.

FOLDER holds train.csv (text, labels), test.csv (text) and settings.json, and gets predictions.json: a number a text.
"""

import json
import sys
from pathlib import Path

import pandas as pd
from simpletransformers.classification import ClassificationModel

classifier, folder = sys.argv[1], Path(sys.argv[2])
settings = json.loads((folder / "settings.json").read_text())
quiet = {
    "silent": True,
    "no_save": True,
    "no_cache": True,
    "use_multiprocessing": False,
    "save_model_every_epoch": False,
}
quiet |= {"use_multiprocessing_for_evaluation": False, "output_dir": str(folder / "outputs"), "process_count": 1}
model = ClassificationModel("bert", classifier, num_labels=3, use_cuda=False, args=settings | quiet)
model.train_model(pd.read_csv(folder / "train.csv"))
predictions, logits = model.predict(pd.read_csv(folder / "test.csv")["text"].tolist())
found = {"predictions": [int(number) for number in predictions], "logits": [list(map(float, row)) for row in logits]}
(folder / "predictions.json").write_text(json.dumps(found))
