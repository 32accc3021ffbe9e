"""Runs whose processes something else starts: torchrun on two nodes, SLURM's srun."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.running import FINDING, SMALL, Command, assert_measured_alike

WORDS = (*FINDING, "trainer.accelerator=cpu", "run_dir=run")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def together(folder: Path, commands: list[list[str]], extra: list[dict[str, str]]) -> list[str]:
    """Start the commands at once; return what each printed."""
    started = [
        subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for command, variables in zip(commands, extra, strict=True)
    ]
    printed = [process.communicate(timeout=240)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], "\n".join(printed)
    return printed


def check_one_run(folder: Path, printed: list[str], command: Command) -> None:
    assert "2 device(s), 4 each" in printed[0] and "2 device(s)" not in printed[1]
    assert (folder / "run/checkpoints/last.ckpt").is_file()
    assert {path.name for path in folder.iterdir()} == {"run"}
    assert_measured_alike(command, folder / "run", folder / "alone")


@pytest.mark.slow
def test_torchrun_on_two_nodes(command: Command, tmp_path: Path) -> None:
    port = free_port()
    commands = [
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nnodes=2", f"--node_rank={node}"),
            *("--nproc_per_node=1", "--master_addr=127.0.0.1", f"--master_port={port}"),
            *("-m", "fcos_lightning.cli.train", *WORDS),
            *("trainer=ddp", "trainer.devices=1", "trainer.num_nodes=2"),
        ]
        for node in range(2)
    ]
    check_one_run(tmp_path, together(tmp_path, commands, [{}, {}]), command)


@pytest.mark.slow
def test_srun_with_two_tasks(command: Command, tmp_path: Path) -> None:
    """SLURM itself is not here; these are the variables it gives its tasks."""
    tasks = [
        {
            "SLURM_JOB_ID": "7",
            "SLURM_JOB_NAME": "train",
            "SLURM_NTASKS": "2",
            "SLURM_NTASKS_PER_NODE": "2",
            "SLURM_JOB_NUM_NODES": "1",
            "SLURM_NODEID": "0",
            "SLURM_PROCID": str(task),
            "SLURM_LOCALID": str(task),
            "SLURM_NODELIST": "localhost",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        for port in [free_port()]
        for task in range(2)
    ]
    words = [sys.executable, "-m", "fcos_lightning.cli.train", *WORDS, "trainer=slurm"]
    check_one_run(tmp_path, together(tmp_path, [words, words], tasks), command)


def test_processes_from_outside_need_a_folder_in_common(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("TORCHELASTIC_RUN_ID", "x"), ("WORLD_SIZE", "2"), ("RANK", "0")):
        monkeypatch.setenv(name, value)
    result = command("train", *SMALL)
    assert result.code == 2 and "run_dir= is missing; when torchrun or srun" in result.err
