#!/usr/bin/env bash
# What an accelerator is measured by: samples per second at the size and batch of Laborieux & Zenke 2022 (Table 2), then
# CIFAR-10 with their settings for as long as there is time. The same command again goes on from the last checkpoint.
#
#     bench/accelerator.sh FOLDER [SECONDS] [OPTIONS OF holoprop train ...]
#
# FOLDER keeps throughput.json (measured once) and the run; training is interrupted after SECONDS (540). In the
# environment, BATCH=4 is the batch of the throughput, for a small machine, and PRESET=imagenet32-p1 trains on ImageNet
# 32×32: the official files if HOLOPROP_DATA is set, else IMAGES (1281167) synthetic ones, made and converted in FOLDER
# (or HOLOPROP_CACHE).
set -euo pipefail

folder=${1:?usage: bench/accelerator.sh FOLDER [SECONDS] [OPTIONS OF holoprop train ...]}
seconds=${2:-540}
shift $(($# < 2 ? $# : 2))
preset=${PRESET:-cifar10-p1}
run=$folder/$preset
mkdir -p "$folder"

if [ ! -s "$folder/throughput.json" ]; then
    holoprop bench --throughput --json ${BATCH:+--batch "$BATCH"} >"$folder/throughput.json.new"
    mv "$folder/throughput.json.new" "$folder/throughput.json"
fi
cat "$folder/throughput.json"

if [ "$preset" = imagenet32-p1 ] && [ -z "${HOLOPROP_DATA:-}" ]; then
    export HOLOPROP_DATA=$folder/data HOLOPROP_CACHE=${HOLOPROP_CACHE:-$folder/cache}
    if [ ! -e "$folder/data/made" ]; then
        rm -rf "$folder/data/imagenet32" # what was killed half-way
        holoprop data synthesise imagenet32 --folder "$folder/data" --images "${IMAGES:-1281167}" --test-images 5000
        touch "$folder/data/made"
    fi
    holoprop data convert imagenet32 --no-verify
    set -- --set data.verify=false "$@"
fi

resume=()
[ -f "$run/checkpoint.eqx" ] && resume=(--resume)
[ -d "$run" ] && [ ${#resume[@]} = 0 ] && resume=(--overwrite) # ended before its first checkpoint
ended=0
timeout --signal=TERM --kill-after=60 "$seconds" holoprop train "$preset" --folder "$folder" "${resume[@]}" "$@" || ended=$?
# 124: out of time. Anything else that is not 0 is an error of the run's own.
[ "$ended" = 0 ] || [ "$ended" = 124 ]

# Seconds per epoch of the published size, from the logged steps: a step's seconds are those since its epoch began.
[ ! -s "$run/metrics.jsonl" ] || python3 - "$run" "$(sed -n 's/^batch_size = //p' "$run/config.toml")" <<'PYTHON'
import json
import pathlib
import sys

run, batch = pathlib.Path(sys.argv[1]), int(sys.argv[2])
lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
steps = [line for line in lines if line["kind"] == "step"]
published = {"imagenet32-p1": (1_281_167, 4745), "cifar10-p1": (50_000, 231)}
pairs = [(a, b) for a, b in zip(steps, steps[1:]) if a["epoch"] == b["epoch"]]
if pairs and run.name in published:
    images, quoted = published[run.name]
    rate = batch * sum(b["step"] - a["step"] for a, b in pairs) / sum(b["seconds"] - a["seconds"] for a, b in pairs)
    print(f"{rate:.1f} samples per second: {images / rate:.0f} s an epoch of {images:,} images (published: {quoted:,} s)")
PYTHON
