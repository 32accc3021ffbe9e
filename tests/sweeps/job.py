"""Stands for ``fcos-train``: leaves what a run leaves, and does what its words say.

``ap=0.3`` is what it reaches, ``crash=true`` ends it in the first attempt, ``wait=true`` makes it
run until it is asked to stop, and then keep a checkpoint. ``error=TEXT`` refuses it before it has a
folder, with RUN in the text for that folder; ``late=true`` makes it fail behind its first figures.
"""

import json
import signal
import sys
import time
from pathlib import Path


def main() -> int:
    words = dict(word.split("=", 1) for word in sys.argv[1:])
    # As arguments of a data set of somebody's own, which the sweep leaves alone.
    words = {k.lstrip("+").removeprefix("data."): v.strip("'") for k, v in words.items()}
    resumed = "resume" in words
    folder = Path(words["resume"] if resumed else words["run_dir"])
    if words.get("error", "none") != "none" and not (folder.parent / "mended").exists():
        print("model tiny\nerror: " + words["error"].replace("RUN", str(folder)))
        return 2
    if resumed:
        words = json.loads((folder / "config.yaml").read_text())
    else:
        assert not folder.exists() or not any(folder.iterdir())
        (folder / "checkpoints").mkdir(parents=True)
        (folder / "config.yaml").write_text(json.dumps(words))
    calls = folder.parent / "calls.txt"
    with calls.open("a") as file:
        file.write(f"{'resume' if resumed else 'new'} {folder.name}\n")
    if words.get("crash") == "true" and not (folder.parent / "mended").exists():
        print("it broke")
        return 3
    stopped: list[int] = []
    began = time.time()
    signal.signal(signal.SIGTERM, lambda signum, frame: stopped.append(signum))
    with (folder / "metrics.csv").open("w") as file:
        file.write("epoch,step,val/AP\n")
        for epoch in range(int(words.get("epochs", "1"))):
            file.write(f"{epoch},{epoch},{float(words.get('ap', '0.1')) * (epoch + 1) / 10}\n")
            file.flush()
            time.sleep(float(words.get("pause", "0")))
            if words.get("late") == "true":
                print("error: too late")
                return 2
            if stopped:
                break
    while words.get("wait") == "true" and not resumed and not stopped:
        time.sleep(0.02)
    if stopped:
        (folder / "checkpoints" / "last.ckpt").write_text("kept")
        return 143
    (folder / "span.json").write_text(json.dumps([began, time.time()]))
    (folder / "metrics.json").write_text(json.dumps({"AP": float(words.get("ap", "0.1"))}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
