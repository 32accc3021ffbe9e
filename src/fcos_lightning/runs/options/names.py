"""What other frameworks call the settings and choices that we have."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

_SAME: Mapping[str, tuple[str, ...]] = {
    "schedule.lr": ("lr", "learning_rate", "lr0", "base_lr", "optimizer.lr", "solver.base_lr"),
    "data.batch_size": (
        *("batch_size", "batch", "bs", "train_batch_size", "ims_per_batch", "samples_per_gpu"),
        *("images_per_batch", "batch_size_per_gpu"),
    ),
    "schedule.max_epochs": ("epochs", "epoch", "max_epochs", "num_epochs", "n_epochs"),
    "schedule.max_steps": ("steps", "iterations", "iters", "max_iter", "max_iters", "max_steps"),
    "schedule.weight_decay": ("weight_decay", "wd"),
    "schedule.optimizer": ("optimizer", "optimiser", "optim"),
    "schedule.warmup_steps": ("warmup", "warmup_iters", "warmup_epochs"),
    "schedule": ("scheduler", "lr_scheduler"),
    "trainer.devices": ("gpus", "gpu", "devices", "num_gpus", "n_gpus", "gpu_ids", "num_devices"),
    "trainer.num_nodes": ("nodes", "num_machines"),
    "trainer.accelerator": ("device", "accelerator"),
    "trainer.precision": ("precision", "amp", "fp16", "bf16", "half", "mixed_precision"),
    "trainer.gradient_clip_val": ("clip", "grad_clip", "gradient_clip", "clip_grad"),
    "trainer.accumulate_grad_batches": ("accumulate", "accumulation_steps", "grad_accum"),
    "trainer.strategy": ("strategy",),
    # Of fcos-test; other commands that look at a part have limit itself.
    "trainer.limit_val_batches": ("limit", "max_images", "num_images", "limit_test_batches"),
    "data.num_workers": ("num_workers", "workers", "workers_per_gpu"),
    "data.shorter_side": ("imgsz", "image_size", "img_size", "size", "resolution", "min_size"),
    "data.longer_side": ("max_size",),
    "data.root": ("root", "data_dir", "data_root", "data_path", "dataset_dir", "path"),
    "data": ("dataset", "datasets"),
    "model": ("backbone", "arch", "architecture", "net", "network"),
    "augment": ("augmentation", "augmentations", "aug", "transforms"),
    "logger": ("loggers", "log"),
    "seed": ("random_seed", "seed_everything"),
    "run_dir": ("output_dir", "out_dir", "save_dir", "work_dir", "workdir", "output", "out"),
    "init_from": ("pretrained", "weights", "load_from", "finetune_from", "ckpt", "checkpoint_path"),
    "resume": ("resume_from", "resume_from_checkpoint"),
    "ckpt": ("checkpoint", "checkpoint_path", "weights", "model_path"),
    "source": ("input", "image", "images", "img", "video"),
    "out": ("output", "output_dir", "save_dir", "run_dir"),
    "score_threshold": ("conf", "confidence", "threshold", "score_thr", "score_thresh"),
    "decoder.score_threshold": ("conf", "confidence", "threshold", "score_thr", "score_thresh"),
    "model.decoder.score_threshold": ("conf", "confidence", "threshold", "score_thr"),
    "decoder.nms_iou": ("iou", "nms", "nms_iou", "nms_threshold", "iou_thres"),
    "model.decoder.nms_iou": ("iou", "nms", "nms_iou", "nms_threshold", "iou_thres"),
    "decoder.max_detections": ("max_det", "detections_per_img", "max_per_img"),
    "callbacks.ema": ("ema",),
    "test.tta": ("tta",),
}  # fmt: skip

#: Names elsewhere -> settings of ours, the likeliest first; a command has only some of them.
SETTINGS: dict[str, tuple[str, ...]] = {}
for _ours, _theirs in _SAME.items():
    for _name in _theirs:
        SETTINGS[_name] = (*SETTINGS.get(_name, ()), _ours)

#: Ways of writing a net's name elsewhere, and ours.
_NETS = (
    (r"resnext[_-]?(\d+)[_-](\d+x\d+d?)", r"x\1_\2"),
    (r"resnet[_-]?(\d+)", r"r\1"),
    (r"r[_-](\d+)", r"r\1"),
    (r"mobilenet[_-]?v?2", "mnv2"),
    (r"dla[_-](\d+)", r"dla\1"),
    (r"hrnet[_-]?w?(\d+)", r"hrnet\1"),
    (r"vovnet[_-]?(\d+)", r"vovnet\1"),
    (r"(pascal)?[_-]?voc([_-]?(20)?(07|12))?", "voc"),
    (r"(ms)?[_-]?coco([_-]?(20)?17)?", "coco"),
    (r"tb|tensorboard", "default"),
    (r"weights[_-]?and[_-]?biases", "wandb"),
    (r"gpu|cuda|auto", "default"),
)


def choice_names(name: str) -> Iterator[str]:
    """Give the names that a choice may have here."""
    lowered = name.lower()
    yield lowered
    for theirs, ours in _NETS:
        found = re.match(theirs, lowered)
        if found:
            yield found.expand(ours)
