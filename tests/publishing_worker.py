"""Small trainings that publish, where HF_ENDPOINT is a stand-in: python publishing_worker.py FOLDER everything|REPO."""

import json
import os
import sys
from pathlib import Path
from unittest import mock

import distill_worker
import internalization_worker
import torch

import blog.pretraining
from blog.distillation.trainer import DistillationArguments, distill
from blog.experiment import training_arguments, try_out
from blog.models.publishing import publish
from blog.models.students import train_tokenizer
from blog.prompt_internalization.trainer import PromptInternalizationArguments, train

PUSH = dict(push_to_hub=True, hub_private_repo=True)


def distilled(folder: Path, repo: str, run=distill, **options) -> dict:
    args = DistillationArguments(
        str(folder), max_steps=6, save_strategy="steps", eval_strategy="steps", save_steps=2, eval_steps=2,
        use_cpu=True, disable_tqdm=True, hub_model_id=repo, **PUSH,
    )  # fmt: skip
    models = dict(teacher=distill_worker.classifier(0, 2, 0.1), student=distill_worker.classifier(1, 1, 0.1))
    tokenizer = train_tokenizer(distill_worker.TEXTS, vocab_size=60)
    return run(**models, data=distill_worker.data(), args=args, tokenizer=tokenizer, **options)


def internalized(folder: Path, repo: str) -> dict:
    texts, size = internalization_worker.TEXTS, internalization_worker.VOCABULARY
    tokenizer = blog.pretraining.train_subword_tokenizer(texts, size, max_length=64)
    args = training_arguments(
        PromptInternalizationArguments, folder, max_steps=4, eval_steps=2, save_steps=2, hub_model_id=repo, **PUSH
    )
    models = (internalization_worker.model(seed, 16, 0.0) for seed in (0, 1))
    return train(*models, internalization_worker.examples(tokenizer), args, tokenizer)


def refusal(folder: Path, repo: str) -> list[str]:
    try:
        return ["published", publish(folder, repo)]
    except OSError as error:
        return [type(error).__name__, str(error)]


def everything(folder: Path) -> dict:
    "Both trainings, a try-out, the first one again, and what goes wrong where."
    found = {"distill": distilled(folder / "distill", "me/classifier")}
    found["train"] = internalized(folder / "train", "me/reader")
    found["again"] = distilled(folder / "distill", "me/classifier", resume=True)
    distilled(folder, "me/try-out", run=lambda **given: try_out(distill, rows=10, steps=1, **given))
    student = folder / "distill/student"
    found["a branch"] = publish(student, "me/branched", revision="second")
    with mock.patch.dict(os.environ, HF_TOKEN="hf_wrong"):
        found["wrong token"] = refusal(student, "me/denied")
    for repo in ("you/taken", "you/new", "me/breaks-at-commit"):
        found[repo] = refusal(student, repo)
    with mock.patch("time.sleep"):  # between the client's attempts
        found["me/breaks-at-upload"] = refusal(student, "me/breaks-at-upload")
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    where, job = sys.argv[1:]
    if job == "everything":
        Path(where, "found.json").write_text(json.dumps(everything(Path(where)), indent=1))
    else:
        distilled(Path(where), job)
