#!/usr/bin/env bash
# The whole example. Needs what README.md installs.
set -euo pipefail
cd "$(dirname "$0")"

python make_images.py
wemoe-pl fit --config finetune.yaml --task digits --out runs/digits
wemoe-pl fit --config finetune.yaml --task textures --out runs/textures
wemoe-pl fit --config adapt.yaml --out runs/adapted
