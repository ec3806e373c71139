"""A trainer of this blog, sharded on CPU processes: accelerate launch fsdp_worker.py distill|internalize FOLDER BATCH.

accelerate turns FSDP on for accelerators alone and, on the CPU, silently replicates instead. Here its state is told
otherwise, and `torch.distributed.fsdp.fully_shard` does on CPU processes what it does on GPUs. SHARDED in FOLDER lists
how many numbers of the student each process held, and of how many.
"""

import os
import sys
from pathlib import Path

import distill_worker
import internalization_worker
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType
from torch.distributed.tensor import DTensor
from transformers import Trainer

from blog.generation.parallelism import saving_whole


def shard_on_cpu() -> None:
    usual = AcceleratorState.__init__

    def init(self, *args, fsdp_plugin=None, **kwargs) -> None:
        usual(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        if fsdp_plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
            self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, fsdp_plugin
            PartialState._shared_state["distributed_type"] = DistributedType.FSDP

    AcceleratorState.__init__ = init


def note_shards(folder: str, rank: str) -> None:
    usual = Trainer.training_step

    def step(self, model, *args, **kwargs):
        own = [(p.to_local() if isinstance(p, DTensor) else p).numel() for p in model.parameters() if p.requires_grad]
        whole = sum(p.numel() for p in model.parameters() if p.requires_grad)
        Path(f"{folder}.shards-{rank}").write_text(f"{sum(own)} {whole} {self.accelerator.distributed_type.value}")
        return usual(self, model, *args, **kwargs)

    Trainer.training_step = step


def main() -> None:
    with saving_whole():
        run(*sys.argv[1:])
    PartialState().destroy_process_group()  # a process that ends with its group's threads running may abort


def run(job: str, folder: str, batch: str) -> None:
    if os.environ.get("BLOG_FSDP_ON_CPU"):
        shard_on_cpu()
    note_shards(folder, os.environ.get("RANK", "0"))
    if job == "distill":
        sys.argv[1:] = [folder, "--batch", batch, "--dropout", "0"]
        return distill_worker.main()
    rank, size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    internalization_worker.internalize((folder, rank, size, os.environ.get("MASTER_PORT", 0)), batch=int(batch))


if __name__ == "__main__":
    main()
