"""The body behind a synthetic radiograph: how far the X-rays run through which tissue.

Anatomy is laid out in a frame of its own: ``x`` is 0 at the midline and grows towards the
patient's left (the image's right), ``y`` is 0 at the top of the image and 1 at its bottom,
``z`` is 0 at the spine and grows towards the front. Lengths and depths share that unit, which is
about 30 cm. Images are ``float32 [height, width]``.
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

# Linear attenuation per unit of length, chosen to give a chest radiograph's contrasts.
SOFT_TISSUE = 5.5
AIR = -SOFT_TISSUE  # in lung, airways and stomach: what they absorb less than soft tissue
LUNG = 0.76 * AIR
VESSEL = 1.5 * SOFT_TISSUE  # blood is no denser than muscle; drawn so to be seen among the ribs
BONE = 15.0
MARROW = 0.15  # of what the same length of compact bone absorbs

TUBE_SAMPLES_PER_PIXEL = 1.5


@dataclass(frozen=True)
class Anatomy:
    """What varies from patient to patient and from exposure to exposure.

    Lengths are in the frame's unit; multiples are of what is usual.
    """

    breadth: float  # of the body, as a multiple of the standard one
    height: float
    shift_x: float
    shift_y: float
    tilt: float  # of the patient on the detector, in degrees
    turn: float  # about the long axis: how far the front is shifted, per depth
    heart: float  # size, as a multiple
    chest: float  # breadth of the upper chest, as a multiple
    dome: float  # y of the right diaphragm
    spine_sway: float
    spine_phase: float
    rib_spacing: float
    rib_fall: float  # how far ribs descend from back to front, as a multiple
    arm: float  # how far the raised arms point outwards
    fat: float  # chest wall, as a multiple
    bubble: float  # radius of the stomach's air
    kilovolts: float  # contrast: attenuation as a multiple
    exposure: float  # display brightness, in grey levels
    noise: float  # as a multiple
    marker: bool  # whether there is a side letter
    marker_y: float

    @staticmethod
    def draw(rng: np.random.Generator) -> "Anatomy":
        uniform = rng.uniform
        return Anatomy(
            breadth=uniform(0.93, 1.04),
            height=uniform(0.93, 1.04),
            shift_x=uniform(-0.02, 0.02),
            shift_y=uniform(-0.03, 0.02),
            tilt=uniform(-3.0, 3.0),
            turn=uniform(-0.1, 0.1),
            heart=uniform(0.86, 1.12),
            chest=uniform(0.93, 1.07),
            dome=uniform(0.685, 0.735),
            spine_sway=uniform(-0.012, 0.012),
            spine_phase=uniform(0.0, 2 * np.pi),
            rib_spacing=uniform(0.054, 0.060),
            rib_fall=uniform(0.85, 1.2),
            arm=uniform(-0.02, 0.12),
            fat=uniform(0.9, 1.15),
            bubble=uniform(0.03, 0.055),
            kilovolts=uniform(0.92, 1.08),
            exposure=uniform(-10.0, 10.0),
            noise=uniform(0.7, 1.5),
            marker=bool(rng.random() < 0.8),
            marker_y=uniform(0.07, 0.13),
        )

    def spine(self, y: np.ndarray | float) -> np.ndarray | float:
        """x of the spine's axis at y."""
        return self.spine_sway * np.sin(3.0 * y + self.spine_phase)

    def vertebra(self, number: np.ndarray | float) -> np.ndarray | float:
        """y of the middle of a vertebra; 1 is the first thoracic."""
        return 0.155 + self.rib_spacing * (number - 1) + 0.0004 * (number - 1) ** 2

    def chest_half(self, y: np.ndarray) -> np.ndarray:
        """Half the inner breadth of the rib cage at y."""
        knots = (
            (0.150, 0.00), (0.162, 0.075), (0.18, 0.125), (0.21, 0.185), (0.25, 0.232),
            (0.32, 0.288), (0.42, 0.331), (0.55, 0.362), (0.70, 0.38), (0.9, 0.383),
        )  # fmt: skip
        upper = 1 + (self.chest - 1) * np.clip((0.75 - y) / 0.4, 0, 1)
        return _through(knots, y) * upper


class Grid:
    """The pixels' places in the anatomy's frame, before the patient is turned."""

    def __init__(self, anatomy: Anatomy, height: int, width: int) -> None:
        self.shape = (height, width)
        self.tilt = anatomy.tilt
        self.turn = anatomy.turn
        self.scale = (height * anatomy.breadth, height * anatomy.height)  # pixels per unit
        self.origin = (width / 2 + anatomy.shift_x * height, (0.5 + anatomy.shift_y) * height)
        column = np.arange(width, dtype=np.float32)[None, :] + 0.5
        row = np.arange(height, dtype=np.float32)[:, None] + 0.5
        self.x = (column - self.origin[0]) / self.scale[0]
        self.y = (row - self.origin[1]) / self.scale[1] + 0.5

    def pixels(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Column and row of a place."""
        return (
            x * self.scale[0] + self.origin[0],
            (y - 0.5) * self.scale[1] + self.origin[1],
        )

    def tilted(self, layers: np.ndarray) -> np.ndarray:
        """The layers with the patient lying askew."""
        height, width = self.shape
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), self.tilt, 1.0)
        return cv2.warpAffine(layers, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)

    def tubes(self, centre: np.ndarray, radius: np.ndarray, *, hollow: float = 0.0) -> np.ndarray:
        """Path lengths ``float32 [height, width]`` through bent tubes, seen along z.

        ``centre`` is ``[tubes, points, 3]``, ``radius`` ``[tubes, points]``; the inner
        ``hollow`` share of the radius holds marrow. A tube running towards the viewer is
        seen end on and comes out brighter, as ribs do at the edge of the chest.
        """
        height, width = self.shape
        points = centre.shape[1]
        longest = np.linalg.norm(np.diff(centre[..., :2], axis=1), axis=2).sum(axis=1).max()
        along = int(np.ceil(longest * height * TUBE_SAMPLES_PER_PIXEL))
        place = np.linspace(0, points - 1, max(along, points))
        left = np.minimum(place.astype(int), points - 2)
        share = (place - left).astype(np.float32)
        centre = centre.astype(np.float32)
        centre = centre[:, left] * (1 - share[:, None]) + centre[:, left + 1] * share[:, None]
        radius = (radius[:, left] * (1 - share) + radius[:, left + 1] * share).astype(np.float32)

        centre[..., 0] += self.turn * centre[..., 2]
        step = np.gradient(centre, axis=1)
        seen = np.hypot(step[..., 0], step[..., 1]) + np.float32(1e-9)
        samples = max(3, int(np.ceil(2 * radius.max() * height * TUBE_SAMPLES_PER_PIXEL)))
        # Samples are scattered within their cells: in line with the pixels they leave moiré.
        jitter = np.random.default_rng(0).random((2, len(place), samples), dtype=np.float32)
        across = (np.arange(samples, dtype=np.float32) + jitter[0]) * (2 / samples) - 1
        chord = np.sqrt(1 - across**2)
        chord -= (1 - MARROW) * np.sqrt(np.maximum(hollow**2 - across**2, 0))
        volume = np.linalg.norm(step, axis=-1) * radius**2 * self.scale[0] * self.scale[1]
        aside_x, aside_y = -step[..., 1] / seen * radius, step[..., 0] / seen * radius
        column, row = self.pixels(
            centre[..., 0, None] + aside_x[..., None] * across + step[..., 0, None] * jitter[1],
            centre[..., 1, None] + aside_y[..., None] * across + step[..., 1, None] * jitter[1],
        )
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        index = row.astype(np.int32) * width + column.astype(np.int32)
        index[~inside] = height * width
        path = volume[..., None] * (chord * (4 / samples))
        image = np.bincount(index.ravel(), path.ravel(), minlength=height * width + 1)
        return image[:-1].reshape(self.shape).astype(np.float32)


def _through(knots: tuple[tuple[float, float], ...], at: np.ndarray) -> np.ndarray:
    """A smooth curve along the knots (position, value)."""
    return np.interp(at, *_smoothed(knots)).astype(np.float32)


@cache
def _smoothed(knots: tuple[tuple[float, float], ...]) -> tuple[np.ndarray, np.ndarray]:
    fine = np.linspace(-0.5, 1.5, 401)
    positions, values = zip(*knots, strict=True)
    return fine, cv2.GaussianBlur(np.interp(fine, positions, values), (0, 0), 2.5).ravel()


def _edge(distance: np.ndarray, width: float) -> np.ndarray:
    """0 to 1 across an edge of a width, 0.5 where the distance is 0."""
    return np.clip(distance / width + 0.5, 0, 1)


def smooth_edge(distance: np.ndarray, width: float) -> np.ndarray:
    """The same with a smooth beginning and end."""
    t = _edge(distance, width)
    return t * t * (3 - 2 * t)


def clouds(shape: tuple[int, int], reach: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise of about unit variance with blobs ``reach`` image heights across."""
    height, width = shape
    cells = (int(1 / reach) + 2, int(width / height / reach) + 2)
    coarse = rng.standard_normal(cells, dtype=np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def healthy_attenuation(
    anatomy: Anatomy,
    grid: Grid,
    lungs: np.ndarray,
    air: np.ndarray,
    vessels: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Attenuation of the healthy patient, ``float32 [height, width]``."""
    muscle = 1 + 0.02 * clouds(grid.shape, 0.12, rng) + 0.008 * clouds(grid.shape, 0.03, rng)
    attenuation = SOFT_TISSUE * _body(anatomy, grid) * muscle + LUNG * air
    attenuation += AIR * _gas(anatomy, grid)
    attenuation += BONE * (_skeleton(anatomy, grid, rng) + _spine(anatomy, grid))
    unresolved = cv2.GaussianBlur(vessels, (0, 0), 0.02 * grid.shape[0])  # the finest branches
    attenuation += VESSEL * (vessels + 1.3 * unresolved) * lungs
    return np.maximum(attenuation, 0)


def _body(anatomy: Anatomy, grid: Grid) -> np.ndarray:
    """Depth of trunk, neck, chin and raised arms."""
    x, y = np.abs(grid.x), grid.y
    half = _through(
        ((-0.1, 0.13), (0.04, 0.14), (0.075, 0.18), (0.11, 0.275), (0.14, 0.34), (0.20, 0.39),
         (0.3, 0.42), (0.42, 0.41), (0.7, 0.42), (1.1, 0.415)), y
    ) * (0.5 + 0.5 * anatomy.fat)  # fmt: skip
    depth = _through(((0, 0.34), (0.15, 0.36), (0.35, 0.46), (0.6, 0.52), (1, 0.49)), y)
    trunk = depth * np.sqrt(np.maximum(1 - np.square(np.square(x / half)), 0))

    start_x, start_y, end_x, end_y = 0.36, 0.24, 0.41 + anatomy.arm, -0.1
    run_x, run_y = end_x - start_x, end_y - start_y
    along = ((x - start_x) * run_x + (y - start_y) * run_y) / (run_x**2 + run_y**2)
    along = np.clip(along, 0, 1)
    apart = (x - start_x - along * run_x) ** 2 + (y - start_y - along * run_y) ** 2
    arm = 2.1 * np.sqrt(np.maximum((0.085 * anatomy.fat) ** 2 - apart, 0))

    chin = 0.42 * np.sqrt(np.maximum(1 - (x / 0.2) ** 2 - ((y + 0.09) / 0.15) ** 2, 0))
    squares = np.square(trunk), np.square(arm), np.square(chin)
    return np.sqrt(np.sqrt(sum(np.square(s) for s in squares)))  # a union without seams


def lung_fields(anatomy: Anatomy, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Visible lung fields (0..1) and the depth of lung, also behind heart and diaphragm."""
    x, y = grid.x, grid.y
    half = np.maximum(anatomy.chest_half(y), 1e-3)
    depth = _through(((0.15, 0.12), (0.25, 0.24), (0.4, 0.33), (0.7, 0.38)), y)
    cavity = depth * np.sqrt(np.maximum(1 - (x / half) ** 2, 0))

    # Heart and great vessels: a silhouette that fills more of the depth away from its edges.
    grow = 1 + (anatomy.heart - 1) * np.clip((y - 0.3) / 0.15, 0, 1)
    shift = 0.15 * anatomy.turn
    right = shift - grow * _through(
        ((0.14, 0.085), (0.2, 0.058), (0.3, 0.055), (0.38, 0.066), (0.45, 0.088), (0.55, 0.112),
         (0.63, 0.115), (0.72, 0.09), (0.9, 0.08)), y
    )  # fmt: skip
    left = shift + grow * _through(
        ((0.14, 0.085), (0.2, 0.055), (0.25, 0.052), (0.3, 0.07), (0.335, 0.076), (0.37, 0.072),
         (0.43, 0.105), (0.5, 0.152), (0.58, 0.2), (0.66, 0.225), (0.72, 0.213), (0.9, 0.17)), y
    )  # fmt: skip
    off_centre = np.abs(2 * x - left - right) / (left - right)
    fill = _through(((0.15, 0.97), (0.3, 0.85), (0.42, 0.72), (0.6, 0.75), (0.8, 0.85)), y)
    heart = fill * np.sqrt(np.maximum(1 - np.square(np.square(off_centre)), 0))

    in_right = x < 0
    from_peak = x - np.where(in_right, np.float32(-0.17), np.float32(0.19))
    outwards = (from_peak > 0) ^ in_right
    dome = np.where(in_right, np.float32(anatomy.dome), np.float32(anatomy.dome + 0.036))
    dome = dome + np.where(outwards, np.float32(2.6), np.float32(1.1)) * from_peak**2
    behind_dome = 1 - np.sqrt(np.sqrt(np.clip((y - dome) / 0.1, 0, 1)))

    lungs = _edge(cavity - 0.05, 0.05) * _edge(off_centre - 1, 0.03) * _edge(dome - y, 0.006)
    return lungs, cavity * (1 - heart) * behind_dome


def _gas(anatomy: Anatomy, grid: Grid) -> np.ndarray:
    """Depth of air in the trachea, the main bronchi and the stomach."""
    fork = anatomy.vertebra(4.8)
    axis = anatomy.spine(0.3) - 0.008
    airways = np.array([
        [(axis, -0.1, 0.1), (axis, 0.2, 0.1), (axis - 0.004, fork, 0.1)],
        [(axis, fork - 0.01, 0.1), (axis - 0.035, fork + 0.035, 0.1), (-0.085, fork + 0.085, 0.1)],
        [(axis, fork - 0.01, 0.1), (axis + 0.045, fork + 0.03, 0.1), (0.11, fork + 0.07, 0.1)],
    ])  # fmt: skip
    radii = np.array([[0.023, 0.022, 0.020], [0.013, 0.013, 0.009], [0.012, 0.011, 0.008]])
    path = cv2.GaussianBlur(grid.tubes(airways, radii), (0, 0), 0.003 * grid.shape[0])
    radius = anatomy.bubble
    off_x, off_y = (grid.x - 0.22) / (1.5 * radius), (grid.y - anatomy.dome - 0.06) / radius - 1
    return path + 1.6 * radius * np.sqrt(np.maximum(1 - off_x**2 - off_y**2, 0))


def _skeleton(anatomy: Anatomy, grid: Grid, rng: np.random.Generator) -> np.ndarray:
    """Path lengths through ribs, clavicles, shoulder blades, upper arms and jaw."""
    along = np.linspace(0, 1, 48)
    number = np.tile(np.arange(1, 13), 2)[:, None]
    side = np.repeat([-1, 1], 12)[:, None]
    back = anatomy.vertebra(number) - 0.012 + rng.normal(0, 0.0015, number.shape)
    sweep = np.interp(number, (1, 2, 9, 10, 11, 12), (135, 150, 138, 125, 85, 55))
    angle = np.radians(6 + (sweep + rng.normal(0, 3, number.shape)) * along)
    fall = anatomy.rib_fall * np.interp(number, (1, 3, 6, 12), (0.085, 0.13, 0.19, 0.21))
    reach = np.maximum(anatomy.chest_half(back + 0.4 * fall) + 0.012, 0.125)
    y = back + fall * (0.5 * (1 - np.cos(angle))) ** 1.2 - 0.022 * np.sin(2 * angle).clip(0)
    ribs = np.stack(
        [side * reach * np.sin(angle) + anatomy.spine(y), y, 0.5 * reach * (1 - np.cos(angle))],
        axis=-1,
    )
    rib_radius = 0.0098 + 0.003 * np.sin(angle / 1.2) ** 2
    rib_radius = rib_radius * np.sqrt(np.minimum((1 - along) / 0.06, 1))
    bone = grid.tubes(ribs, rib_radius, hollow=0.84)

    def pair(x: np.ndarray, y: np.ndarray, z: float) -> np.ndarray:
        axis = anatomy.spine(y)
        return np.stack([[axis - x, y, 0 * y + z], [axis + x, y, 0 * y + z]]).transpose(0, 2, 1)

    rounded = np.sqrt(np.clip(np.minimum(along, 1 - along) / 0.04, 0, 1))
    clavicle = pair(
        0.035 + 0.29 * along, 0.18 - 0.06 * along - 0.024 * np.sin(2 * np.pi * along), 0.25
    )
    radius = (0.0105 + 0.003 * (2 * along - 1) ** 2) * rounded
    bone += 1.2 * grid.tubes(clavicle, np.stack([radius, radius]), hollow=0.75)
    humerus = pair(0.365 + (0.06 + anatomy.arm) * along, 0.205 - 0.32 * along, 0.1)
    radius = (0.017 + 0.013 * np.exp(-(((along - 0.07) / 0.09) ** 2))) * rounded
    bone += 0.8 * grid.tubes(humerus, np.stack([radius, radius]), hollow=0.88)
    blade = pair(0.355 - 0.045 * along**1.5, 0.20 + 0.2 * along, 0.0)
    bone += 0.8 * grid.tubes(blade, np.stack([0.005 * rounded] * 2))
    turn = np.pi * along
    jaw = np.stack([0.125 * np.cos(turn), 0.055 * np.sin(turn) - 0.03, 0 * turn + 0.1], axis=-1)
    bone += grid.tubes(jaw[None], np.full((1, 48), 0.012), hollow=0.7)
    return cv2.GaussianBlur(bone, (0, 0), 0.7)  # evens out how the samples fell on the pixels


def _spine(anatomy: Anatomy, grid: Grid) -> np.ndarray:
    """Path lengths through the vertebrae."""
    numbers = np.arange(-4, 19)
    place = np.interp(grid.y, anatomy.vertebra(numbers), numbers)
    v = (place - np.round(place)).astype(np.float32)  # -0.5..0.5 from disc to disc
    u = np.abs(grid.x - anatomy.spine(grid.y)) / (0.038 + 0.016 * grid.y)

    near = np.flatnonzero((u < 2).any(axis=0))
    strip = slice(near[0], near[-1] + 1)
    u = u[:, strip]

    def ball(at_u: float, at_v: float, size_u: float, size_v: float) -> np.ndarray:
        return np.maximum(1 - ((u - at_u) / size_u) ** 2 - ((v - at_v) / size_v) ** 2, 0)

    inwards = 0.92 + 0.5 * v**2 - u
    tall = smooth_edge(0.42 - np.abs(v), 0.14)
    broad = smooth_edge(inwards, 0.25)
    pedicle = ball(0.66, -0.12, 0.18, 0.17)
    path = np.zeros(grid.shape, np.float32)
    path[:, strip] = np.clip(0.5 + 1.4 * grid.y, 0.6, 1.1) * (
        (0.011 + 0.012 * tall) * broad * np.sqrt(np.maximum(1 - 0.5 * u**2, 0))
        + 0.009 * np.exp(-(((np.abs(v) - 0.39) / 0.04) ** 2)) * broad
        + 0.008 * np.exp(-(((inwards - 0.05) / 0.06) ** 2)) * tall
        + 0.010 * np.sqrt(pedicle) * (1 - 0.7 * pedicle)
        + 0.011 * np.sqrt(ball(0.0, 0.22, 0.14, 0.24))
        + 0.010 * np.sqrt(ball(1.1, -0.14, 0.65, 0.13))
    )
    return path


def pulmonary_vessels(grid: Grid, rng: np.random.Generator) -> np.ndarray:
    """Path lengths through the pulmonary vessels, branching from both hila."""
    start = np.array([[-0.09, 0.43], [0.10, 0.41]]).repeat(9, axis=0)
    start = start + rng.normal(0, 0.012, start.shape)
    fan = np.linspace(-1.3, 1.4, 9)
    heading = np.concatenate([np.pi - fan, fan]) + rng.normal(0, 0.15, 18)
    radius, length = np.full(18, 0.008), rng.uniform(0.05, 0.09, 18)
    length = length * (1 + 0.5 * (np.sin(heading) > 0.3))  # the lower lobes reach further
    along = np.linspace(0, 1, 6)
    image = np.zeros(grid.shape, np.float32)
    for _ in range(5):
        angle = heading[:, None] + rng.normal(0, 0.5, len(heading))[:, None] * along
        step = np.stack([np.cos(angle), np.sin(angle)], axis=-1) * length[:, None, None] / 5
        path = start[:, None] + np.cumsum(step, axis=1) - step[:, :1]
        centre = np.dstack([path, np.zeros(angle.shape)])
        image += grid.tubes(centre, radius[:, None] * (1 - 0.28 * along))
        fork = np.tile([-0.4, 0.4], len(angle)) * rng.uniform(0.5, 1.3, 2 * len(angle))
        start, heading = path[:, -1].repeat(2, axis=0), angle[:, -1].repeat(2) + fork
        radius, length = (0.72 * radius).repeat(2), (0.82 * length).repeat(2)
        length = length * rng.uniform(0.7, 1.2, len(length))
    return image
