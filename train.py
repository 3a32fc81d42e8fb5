"""Train a run: python train.py --network mobilenetv2 … (the same as python -m cxrlib train)."""

import sys

from cxrlib.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
