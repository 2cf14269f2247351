#!/usr/bin/env bash
# Makes a virtual environment with mmcv's operators, mmdetection, mmsegmentation and
# mmdetection3d, and this project in it.
#
# Usage: benchmarks/compatibility/dense_environment.sh DIR [WHEEL]
#
# WHEEL is an mmcv 2.1.0 with operators. Without one it is built from PyPI's source, about a
# quarter of an hour on two cores (a compiler is needed), and left in DIR/wheels for the
# next time. PYTHON and TORCH choose others than python3.11 and torch 2.14.1; to run on CPUs
# alone, PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu saves gigabytes.
set -euo pipefail
dir=${1:?the folder of the environment}
wheel=${2:-}
project=$(cd "$(dirname "$0")/../.." && pwd)

"${PYTHON:-python3.11}" -m venv "$dir"
dir=$(cd "$dir" && pwd)
pip=("$dir/bin/pip" install -q)
# mmcv's setup.py imports pkg_resources.
"${pip[@]}" "torch==${TORCH:-2.14.1}" torchvision 'setuptools<81' wheel ninja

if [ -z "$wheel" ]; then
    source=$(mktemp -d)
    trap 'rm -rf "$source"' EXIT
    "$dir/bin/pip" download -q --no-deps --no-binary :all: --no-build-isolation -d "$source" mmcv==2.1.0
    tar -xf "$source"/mmcv-2.1.0.tar.gz -C "$source"
    # The headers of today's torch are C++20.
    sed -i 's/-std=c++1[47]/-std=c++20/g' "$source/mmcv-2.1.0/setup.py"
    MMCV_WITH_OPS=1 CFLAGS=-g0 "$dir/bin/pip" wheel -q --no-deps --no-build-isolation \
        -w "$dir/wheels" "$source/mmcv-2.1.0"
    wheel=$(echo "$dir"/wheels/mmcv-2.1.0-*.whl)
fi

# What the packages need and these tests use; their own lists pin old versions.
"${pip[@]}" addict einops ftfy joblib mat4py matplotlib modelindex networkx numba \
    opencv-python-headless packaging pandas pillow plyfile prettytable pycocotools pyquaternion \
    pyyaml regex rich scikit-image scikit-learn scipy shapely six termcolor terminaltables tqdm \
    trimesh yapf cachetools descartes importlib-metadata pytest filelock
"${pip[@]}" --no-deps "$wheel" mmengine==0.10.7 mmpretrain==1.2.0 mmrazor==1.0.0 mmdet==3.3.0 \
    mmsegmentation==1.2.2 mmdet3d==1.4.0 nuscenes-devkit lyft-dataset-sdk
"${pip[@]}" --no-deps -e "$project"
"$dir/bin/python" -W ignore -c 'import skd_mmrazor, mmcv.ops, mmdet.models, mmseg.models, mmdet3d.models'
