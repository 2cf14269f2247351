#!/usr/bin/env bash
# Usage: tools/dist_train.sh CONFIG GPUS [arguments of tools/train.py]
# Example: tools/dist_train.sh configs/skd_kd_resnet34_resnet18_imagenet.py 8 --amp

if [ $# -lt 2 ] || [[ " $* " == *" --help "* ]]; then
    sed -n '2,3s/^# //p' "$0"
    [[ " $* " == *" --help "* ]]; exit
fi

set -e

CONFIG=$1
GPUS=$2
NNODES=${NNODES:-1}
NODE_RANK=${NODE_RANK:-0}
PORT=${PORT:-29500}
MASTER_ADDR=${MASTER_ADDR:-"127.0.0.1"}

PYTHONPATH="$(dirname "$0")/..:$PYTHONPATH" \
python -m torch.distributed.run \
    --nnodes="$NNODES" \
    --node_rank="$NODE_RANK" \
    --master_addr="$MASTER_ADDR" \
    --nproc_per_node="$GPUS" \
    --master_port="$PORT" \
    "$(dirname "$0")/train.py" \
    "$CONFIG" \
    --launcher pytorch "${@:3}"
