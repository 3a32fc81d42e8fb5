"""What a training run will roughly take, before it is started: time, memory, disk.

Made from each network's size and from what was measured: `benchmarks/estimate.py` compares it with
runs on a CPU. Once a run goes, what it measures itself counts.
"""

from dataclasses import dataclass

from cxrlib.images.preprocess import square_side
from cxrlib.networks import depth
from cxrlib.runs.config import TrainingConfig

NORMALIZATION_IMAGES = 4096  # that batch-normalization statistics are recomputed on, at most
_SIDE = 224


@dataclass(frozen=True)
class Cost:
    """Of one network: ``parameters``; and at 224 pixels, for one image, ``values`` in all layers'
    outputs (half as many again where swish keeps its factors) and ``products``, the multiplications
    of a forward pass."""

    parameters: float
    values: float
    products: float


COSTS = {
    "cnn": Cost(0.063e6, 0.97e6, 0.061e9),
    "mobilenetv2": Cost(2.3e6, 21.9e6, 0.30e9),
    "vgg16": Cost(14.7e6, 15.4e6, 15.3e9),
    "resnet50": Cost(23.6e6, 37.3e6, 3.86e9),
    "efficientnetb0": Cost(4.1e6, 38e6, 0.38e9),
    "efficientnetv2b0": Cost(5.9e6, 24e6, 0.72e9),
    "densenet121": Cost(7.0e6, 50.1e6, 2.83e9),
    "convnexttiny": Cost(27.8e6, 29.7e6, 4.46e9),
}
# Products a second, and values a second written and read again.
_CPU_CORE = (90e9, 2.8e9)
_GPU = (5e12, 60e9)
_AUGMENTED_A_CORE = 900 * _SIDE**2  # pixels a second
_CNN_WIDTH, _CNN_BLOCKS = 16, 4  # that were measured
_PREPARED_A_CORE = 150  # images a second: files decoded, lungs found
# Importing TensorFlow, decoding apart; and tracing, exporting and judging a network by its layers.
_START_SECONDS, _LAYER_SECONDS = 7, 0.2
# Bytes to begin with; copies of the weights (with gradients, moments, the best so far, and those
# that are saved); copies of all layers' outputs for an image. A GPU's were not measured.
_CPU_MEMORY = (1.2e9, 20, 1.05)
_GPU_MEMORY = (0.0, 5, 1.5)
_READ_AT_ONCE = 64  # images, where nothing is learned
_READ_OUTPUTS = 0.2  # copies there: a few layers at a time
_SAVED_WEIGHTS = 5  # copies in the run's folder
_LUNGS = 2 * 128**2  # bytes an image: where its lungs are
_NORMAL = 0.26  # of the Kaggle set's images


@dataclass(frozen=True)
class Estimate:
    """``seconds`` of training, and bytes: ``memory`` on the device, ``decoded`` images that the
    cache keeps, and ``learned``, what the run's folder takes while it trains."""

    seconds: float
    memory: float
    decoded: float
    learned: float


def normalization_batch(size: int) -> int:
    """How many images batch-normalization statistics are recomputed on at a time.

    Outside TensorFlow, Keras keeps the outputs of all layers meanwhile: of larger images fewer,
    lest a run that has trained runs out of memory at its end.

    >>> normalization_batch(150), normalization_batch(512)
    (64, 12)
    """
    return min(64, max(1, round(64 * (_SIDE / size) ** 2)))


def _cost(config: TrainingConfig) -> Cost:
    cost = COSTS[config.network]
    width, depth = config.cnn_width / _CNN_WIDTH, config.cnn_blocks / _CNN_BLOCKS
    return Cost(
        cost.parameters * width**2 * depth, cost.values * width * depth, cost.products * width**2
    )


def estimate(config: TrainingConfig, images: int, *, gpus: int, cores: int) -> Estimate:
    """What a run on ``images`` (train and val together) will roughly take.

    ``gpus`` is how many GPUs it trains on, 0 for the CPU; ``cores`` those of the CPU.
    """
    cost, area = _cost(config), (config.size / _SIDE) ** 2
    layers = depth.names(config.network, cnn_blocks=config.cnn_blocks)
    trained = min(1, (config.fine_tune_depth or len(layers)) / len(layers))
    if not config.fine_tune_epochs:
        trained = 0
    products, values = _GPU if gpus else (speed * cores for speed in _CPU_CORE)
    forward = area * (cost.products / products + cost.values / values) / max(gpus, 1)
    learned = images * (1 - config.validation_fraction) * (2 if config.consistency_weight else 1)
    learned *= 1 + _NORMAL * config.synthetic_opacity_ratio
    validated = images * config.validation_fraction
    # Back through the layers that learn only.
    step = forward * (1 + 2 * trained)
    if config.augments:
        step = max(step, config.size**2 / (_AUGMENTED_A_CORE * cores))
    seconds = _START_SECONDS + _LAYER_SECONDS * len(layers)
    seconds += images * (1 / (_PREPARED_A_CORE * cores) + forward)
    if config.recalibrates_batchnorm:
        seconds += min(learned, NORMALIZATION_IMAGES) * forward
    seconds += config.fine_tune_epochs * (learned * step + validated * forward)
    if config.distill_from_start:
        seconds += learned * forward
    if config.head_epochs:
        # One pass for the features; without fine-tuning, augmented, the backbone runs each epoch.
        passes = 1 if config.fine_tune_epochs or not config.augments else None
        seconds += (passes or config.head_epochs) * images * forward
    base, weight_copies, output_copies = _GPU_MEMORY if gpus else _CPU_MEMORY
    outputs = max(
        output_copies * trained * config.batch_size / max(gpus, 1), _READ_OUTPUTS * _READ_AT_ONCE
    )
    weights, values = 4 * cost.parameters, 4 * cost.values * area
    memory = base + weight_copies * weights + outputs * values
    return Estimate(seconds, memory, images * _decoded(config), _SAVED_WEIGHTS * weights)


def _decoded(config: TrainingConfig) -> int:
    """Bytes of an image in the cache: as it is, equalized, its lungs' box, and its lungs."""
    side = square_side(config.size) if config.crop == "lungs" else config.size
    squares = 1 if config.equalization == "none" else 2
    box = config.size**2 if config.crop == "lungs" else 0
    return squares * side**2 + box + _LUNGS
