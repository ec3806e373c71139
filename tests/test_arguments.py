"""Every argument of transformers' Trainer, by what our trainers make of it: its effect, or a refusal.

A field that a new version of transformers brings is in none of these lists, and fails the first test until it is.
"""

from dataclasses import fields

import distill_worker
import internalization_worker
import pytest
import torch
from safetensors.torch import load_file
from torch._dynamo.utils import counters
from transformers import TrainingArguments
from transformers.trainer_callback import PrinterCallback

from blog.distillation.trainer import DistillationArguments, DistillationTrainer, distill, encode
from blog.experiment import train_within_memory
from blog.models.loading import save_model
from blog.models.students import train_tokenizer
from blog.pretraining import pretrain, train_subword_tokenizer
from blog.prompt_internalization.entities import EntityArguments
from blog.prompt_internalization.trainer import PromptInternalizationArguments, PromptInternalizationTrainer
from blog.training import RowLossTrainer, identity, train_once

TRAINED = {  # argument, with a value that leads to other weights, and others that it needs beside it
    "per_device_train_batch_size": 3,
    "num_train_epochs": 0.5,
    "max_steps": 2,
    "learning_rate": 1e-3,
    "lr_scheduler_type": "cosine",
    "lr_scheduler_kwargs": ({"num_cycles": 3}, {"lr_scheduler_type": "cosine"}),
    "warmup_steps": 2,
    "optim": "adafactor",
    "optim_args": ("momentum=0.9", {"optim": "sgd"}),
    "weight_decay": 0.5,
    "adam_beta1": 0.5,
    "adam_beta2": 0.5,
    "adam_epsilon": 0.1,
    "gradient_accumulation_steps": 2,
    "max_grad_norm": 1e-3,
    "bf16": True,
    "neftune_noise_alpha": 5.0,
    "seed": 7,
    "data_seed": 7,
    "dataloader_drop_last": (True, {"per_device_train_batch_size": 5}),
    "train_sampling_strategy": "group_by_length",
}
TESTED = {  # by tests of their own
    *("torch_compile", "torch_compile_backend", "include_for_metrics", "remove_unused_columns"),
    *("gradient_checkpointing", "activation_checkpointing", "push_to_hub"),
}
REFUSED = {  # argument, with a value that would be passed over, or would break a run that is taken up again
    "label_smoothing_factor": 0.1,
    "average_tokens_across_devices": False,
    "label_names": ["intent"],
    "prediction_loss_only": True,
    "batch_eval_metrics": True,
    "eval_do_concat_batches": False,
    "save_only_model": True,
    "ignore_data_skip": True,
    "enable_jit_checkpoint": True,
    "resume_from_checkpoint": "checkpoint-3",
    "fp16_full_eval": True,
    "bf16_full_eval": True,
    "fsdp": "full_shard",
    "deepspeed": {"zero_optimization": {"stage": 3}},
    "parallelism_config": object(),
}
OF_THE_LOSS = ("label_smoothing_factor", "average_tokens_across_devices", "label_names")
INHERITED = {  # what Trainer does outside the loss, unchanged; the answer depends on it
    *("optim_target_modules", "fp16", "tf32", "activation_checkpointing_kwargs", "gradient_checkpointing_kwargs"),
    *("torch_compile_mode", "use_liger_kernel", "liger_kernel_config", "use_cache", "auto_find_batch_size"),
    *("include_num_input_tokens_seen", "eval_strategy", "eval_steps", "eval_delay", "per_device_eval_batch_size"),
    *("eval_on_start", "eval_use_gather_object", "save_strategy", "save_steps", "load_best_model_at_end"),
    *("metric_for_best_model", "greater_is_better", "restore_callback_states_from_checkpoint", "full_determinism"),
    *("accelerator_config", "dataloader_in_order", "length_column_name", "ddp_broadcast_buffers", "fsdp_config"),
}
HARMLESS = {  # the answer is the same
    *("output_dir", "run_name", "project", "report_to", "disable_tqdm", "log_level", "log_level_replica"),
    *("logging_strategy", "logging_steps", "logging_first_step", "logging_nan_inf_filter", "log_on_each_node"),
    *("trackio_space_id", "trackio_bucket_id", "trackio_static_space_id", "skip_memory_metrics", "debug"),
    *("save_total_limit", "save_on_each_node", "do_train", "do_eval", "do_predict", "hub_token", "hub_private_repo"),
    *("hub_model_id", "hub_strategy", "hub_always_push", "hub_revision", "use_cpu", "local_rank"),
    *("dataloader_num_workers", "dataloader_pin_memory", "dataloader_persistent_workers", "dataloader_prefetch_factor"),
    *("dataloader_multiprocessing_context", "torch_empty_cache_steps", "eval_accumulation_steps"),
    *("ddp_backend", "ddp_timeout", "ddp_bucket_cap_mb", "ddp_find_unused_parameters", "ddp_static_graph"),
}
KINDS = {DistillationTrainer: DistillationArguments, PromptInternalizationTrainer: PromptInternalizationArguments}
both = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def test_every_argument_is_in_one_list():
    lists = [set(TRAINED), TESTED, set(REFUSED), INHERITED, HARMLESS]
    assert set().union(*lists) == {field.name for field in fields(TrainingArguments)}
    assert sum(map(len, lists)) == len(set().union(*lists))


@pytest.mark.parametrize("name", sorted({field.name for field in fields(TrainingArguments)} - {"parallelism_config"}))
def test_a_run_is_told_by_every_argument_but_the_harmless(name, tmp_path):
    args = TrainingArguments(tmp_path, use_cpu=True)
    before = identity(args, {}, {})
    setattr(args, name, None if name == "accelerator_config" else 0.125)
    assert (identity(args, {}, {}) == before) == (name in HARMLESS)


@both
@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_passed_over_is_refused(kind, name, tmp_path):
    with pytest.raises(ValueError, match=name):
        KINDS[kind](tmp_path, use_cpu=True, **{name: REFUSED[name]})


@pytest.mark.parametrize("name", [*REFUSED, "remove_unused_columns", "include_for_metrics"])
def test_a_reader_of_entities_refuses_them_too(name, tmp_path):
    value = REFUSED.get(name, ["loss"] if name == "include_for_metrics" else True)
    with pytest.raises(ValueError, match=name):
        EntityArguments(tmp_path, use_cpu=True, **{name: value})


@pytest.mark.parametrize("kind", [*KINDS.values(), EntityArguments], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("temperature", [0, -1.0, 1e-8, 1e10, 1e30, float("inf"), float("nan")])
def test_a_temperature_that_the_loss_can_not_compute_is_refused_at_once(kind, temperature, tmp_path):
    with pytest.raises(ValueError, match="temperature must be above 0, from 1e-06 to 1e"):
        kind(tmp_path, use_cpu=True, temperature=temperature)


@pytest.mark.parametrize("name", OF_THE_LOSS)
def test_plain_arguments_are_refused_by_any_trainer_of_row_losses(name, tmp_path):
    args = TrainingArguments(tmp_path, use_cpu=True, **{name: REFUSED[name]})
    with pytest.raises(ValueError, match=name):
        RowLossTrainer(distill_worker.classifier(1, 1, 0.1), args)
    with pytest.raises(ValueError, match=name):
        pretrain(None, None, None, args, None)


@pytest.mark.parametrize("name", ["save_only_model", "ignore_data_skip", "enable_jit_checkpoint", "bf16_full_eval"])
def test_a_run_that_could_not_go_on_is_refused(name, tmp_path):
    args = TrainingArguments(tmp_path / "run", use_cpu=True, **{name: True})
    trainer = RowLossTrainer(distill_worker.classifier(1, 1, 0.1), args)
    with pytest.raises(ValueError, match=name):
        train_once(trainer, {}, True, "student", lambda seconds: {})
    assert not list((tmp_path / "run").glob("*"))


TOKENIZER = train_tokenizer(distill_worker.TEXTS, vocab_size=60)
SUBWORDS = train_subword_tokenizer(internalization_worker.TEXTS, 300, max_length=64)


def trainer_of(kind, folder, **settings):
    usual = dict(max_steps=3, per_device_train_batch_size=4, learning_rate=5e-3, optim="adamw_torch", seed=3)
    usual |= dict(use_cpu=True, disable_tqdm=True, report_to=[], save_strategy="no", eval_strategy="no")
    usual |= dict(load_best_model_at_end=False, logging_strategy="no")
    if "num_train_epochs" in settings:
        usual["max_steps"] = -1
    args = KINDS[kind](folder, **usual | settings)
    if kind is DistillationTrainer:
        teacher, student = distill_worker.classifier(0, 2, 0.0), distill_worker.classifier(1, 1, 0.0)
        rows, tokenizer = encode(distill_worker.data(12)["train"], TOKENIZER, [0, 1, 2]), TOKENIZER
    else:
        teacher, student = (internalization_worker.model(seed, width, 0.0) for seed, width in ((0, 32), (1, 16)))
        rows, tokenizer = ROWS, SUBWORDS
    trainer = kind(student, args, teacher, train_dataset=rows, eval_dataset=rows, processing_class=tokenizer)
    trainer.remove_callback(PrinterCallback)
    return trainer


ROWS = internalization_worker.examples(SUBWORDS)["train"].select(range(12))


def weights(kind, folder, **settings) -> torch.Tensor:
    trainer = trainer_of(kind, folder, **settings)
    trainer.train()
    return torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])


@pytest.fixture(scope="module")
def usual(tmp_path_factory) -> dict:
    return {kind: weights(kind, tmp_path_factory.mktemp("usual")) for kind in KINDS}


@both
@pytest.mark.parametrize("name", TRAINED)
def test_it_leads_to_other_weights(kind, name, usual, tmp_path):
    value, also = TRAINED[name] if isinstance(TRAINED[name], tuple) else (TRAINED[name], {})
    base = weights(kind, tmp_path, **also) if also else usual[kind]
    assert not torch.equal(weights(kind, tmp_path, **also, **{name: value}), base)


@pytest.mark.parametrize("name", ["gradient_checkpointing", "activation_checkpointing"])
def test_activations_are_computed_again_once(name, usual, tmp_path):
    again = weights(DistillationTrainer, tmp_path, **{name: True})
    assert (again - usual[DistillationTrainer]).abs().max() < 1e-6
    with pytest.raises(ValueError, match=name):  # there they always are
        PromptInternalizationArguments(tmp_path, use_cpu=True, **{name: True})


@both
def test_a_compiled_student_is_the_one_that_is_trained(kind, usual, tmp_path):
    counters.clear()
    compiled = weights(kind, tmp_path, torch_compile=True, torch_compile_backend="eager")
    assert counters["stats"]["calls_captured"] > 0
    assert (compiled - usual[kind]).abs().max() < 1e-5


def test_measures_get_what_they_ask_for(tmp_path):
    trainer, seen = trainer_of(DistillationTrainer, tmp_path, include_for_metrics=["inputs", "loss"]), []
    trainer.compute_metrics = lambda found: seen.append((found.inputs.shape, found.losses.shape)) or {}
    trainer.evaluate()
    assert seen == [((12, seen[0][0][1]), (12,))]
    with pytest.raises(ValueError, match="include_for_metrics"):
        PromptInternalizationArguments(tmp_path, use_cpu=True, include_for_metrics=["loss"])


@both
def test_columns_that_the_teacher_reads_stay(kind, tmp_path):
    with pytest.raises(ValueError, match="remove_unused_columns"):
        KINDS[kind](tmp_path, use_cpu=True, remove_unused_columns=True)


def test_a_step_too_large_for_memory_is_made_in_parts_with_the_same_weights_at_the_end(tmp_path, monkeypatch):
    "Memory runs out in the fourth step; a checkpoint holds the second. Eight rows a step before and after."
    usual, tokenizer = DistillationTrainer.training_step, train_tokenizer(distill_worker.TEXTS, vocab_size=60)
    sources = [
        save_model(tmp_path / name, distill_worker.classifier(seed, 1, 0.0), tokenizer)
        for seed, name in enumerate(("teacher", "student"))
    ]

    def trained(name):
        saved = dict(save_strategy="steps", eval_strategy="steps", save_steps=2, eval_steps=2, learning_rate=5e-3)
        sizes = dict(per_device_train_batch_size=8, per_device_eval_batch_size=8, max_steps=6)
        args = DistillationArguments(str(tmp_path / name), **saved, **sizes, use_cpu=True, disable_tqdm=True)
        given = dict(teacher=sources[0], student=sources[1], data=distill_worker.data())
        found = train_within_memory(distill, args=args, **given)
        return load_file(f"{found['student']}/model.safetensors")

    def scarce(self, model, inputs, *more):
        if self.state.global_step >= 3 and len(inputs["labels"]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        parts.append(len(inputs["labels"]))
        return usual(self, model, inputs, *more)

    whole, parts = trained("whole"), []
    monkeypatch.setattr(DistillationTrainer, "training_step", scarce)
    found = trained("parts")
    assert parts == [8] * 3 + [4] * 2 + [2] * 16
    assert all((found[name] - value).abs().max() < 1e-5 for name, value in whole.items())
