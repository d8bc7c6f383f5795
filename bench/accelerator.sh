#!/usr/bin/env bash
# What an accelerator is measured by: samples per second at the size and batch of Laborieux & Zenke 2022 (Table 2), then
# CIFAR-10 with their settings for as long as there is time. The same command again goes on from the last checkpoint.
#
#     bench/accelerator.sh FOLDER [SECONDS] [OPTIONS OF holoprop train ...]
#
# FOLDER keeps throughput.json (measured once) and the run; training is interrupted after SECONDS (540). BATCH=4 in the
# environment is the batch of the throughput, for a small machine.
set -euo pipefail

folder=${1:?usage: bench/accelerator.sh FOLDER [SECONDS] [OPTIONS OF holoprop train ...]}
seconds=${2:-540}
shift $(($# < 2 ? $# : 2))
run=$folder/cifar10-p1
mkdir -p "$folder"

if [ ! -s "$folder/throughput.json" ]; then
    holoprop bench --throughput --json ${BATCH:+--batch "$BATCH"} >"$folder/throughput.json.new"
    mv "$folder/throughput.json.new" "$folder/throughput.json"
fi
cat "$folder/throughput.json"

resume=()
[ -f "$run/checkpoint.eqx" ] && resume=(--resume)
[ -d "$run" ] && [ ${#resume[@]} = 0 ] && resume=(--overwrite) # ended before its first checkpoint
ended=0
timeout --signal=INT --kill-after=60 "$seconds" holoprop train cifar10-p1 --folder "$folder" "${resume[@]}" "$@" || ended=$?
# 124: out of time. Anything else that is not 0 is an error of the run's own.
[ "$ended" = 0 ] || [ "$ended" = 124 ]
