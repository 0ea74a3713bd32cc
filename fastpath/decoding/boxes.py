r"""Keys in small clusters, each in a box: what bounds the logits of keys that are not read.

Keys are turned by a matrix M near a rotation, into coordinates in which the boxes of clusters are small, and
sorted by cluster.  For every key whose image lies within h of m in each coordinate

.. math:: q \cdot k \le qM \cdot m + |qM| \cdot h + slack,

where the slack (I.box) holds what M lacks to a rotation and what rounding made of the images and of the two
products.  Which keys share a cluster costs time only: no bound depends on it.
"""

from dataclasses import dataclass
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from fastpath.core.bounds.decoding import box_slack
from fastpath.core.bounds.softmax import product_error, rounding_logit
from fastpath.core.directed import float32_above, up
from fastpath.core.inputs import Array, Matrix
from fastpath.core.norms import longest_row, norm, product_loss
from fastpath.exact.prepared import constants_of
from fastpath.real_heads.balanced_clusters import Clusters

#: Keys a cluster of up to a million, and beyond them the root of their number by so much: on a sharp head
#: 65,536 keys in clusters of 8, 16 and 64 leave 2, 3 and 10 % to be read by a query.
CLUSTER_KEYS, ROOTS_A_KEY = 8, 128

#: Keys that are clustered at once: clusters of that many are made first, at most the root of their number.
TOGETHER = 256

#: Rows from which the covariance of the keys is estimated.
COVARIANCE_ROWS = 4096


class Rotation:
    """A matrix near a rotation, in the type of the keys, and how far it is from one.

    Attributes
    ----------
    matrix : array, shape (d, d)
    defect : float
        At least the Frobenius norm of M Mᵀ - I.
    """

    def __init__(self, matrix: Matrix) -> None:
        self.matrix, d = matrix, len(matrix)
        wide = matrix.astype(np.float64)
        self._size = norm(wide)
        defect = norm(up(np.abs(wide @ wide.T - np.eye(d))))
        self.defect = float(up(defect + product_loss(self._size, self._size, d, d * d)))

    @classmethod
    def of(cls, k: Matrix) -> "Rotation":
        """Return that to the principal axes of some keys."""
        return cls(_principal_axes(k).astype(k.dtype))

    def image_error(self, length: float) -> float:
        """Bound the length of what rounding makes of the image of a row of that length (FP.product)."""
        d, constants = len(self.matrix), constants_of(self.matrix)
        found = product_error(
            d, constants["unit_roundoff"], length, self._size, d, constants["tiny"]
        )
        return float(found)


def _principal_axes(k: Matrix) -> Array:
    """Return the principal axes of some keys as columns; the axes as they are where there are none."""
    rows = np.arange(len(k))
    if len(k) > COVARIANCE_ROWS:
        # Not every so many: texts are cut into windows, whose first keys are alike.
        rows = np.random.default_rng(0).integers(len(k), size=COVARIANCE_ROWS)
    sample = k[rows].astype(np.float64)
    largest = np.abs(sample).max()
    sample = sample / (largest or 1.0)
    sample -= sample.mean(axis=0)
    axes: Array = np.linalg.eigh(sample.T @ sample)[1]
    return axes


@dataclass(frozen=True, kw_only=True)
class Boxes:
    """The boxes of successive clusters of sorted keys.

    Attributes
    ----------
    middles, halves : arrays of the keys' type, shape (clusters, d)
        The images of a cluster's keys lie within ``halves`` of ``middles``.
    sizes : array of integers, shape (clusters,)
        How many keys each holds.
    longest_key, extent : float
        At least the length of any key, and of any corner's coordinates' largest magnitudes.
    """

    middles: Matrix
    halves: Matrix
    sizes: NDArray[np.intp]
    longest_key: float
    extent: float

    @classmethod
    def of(cls, k: Matrix, rotation: Rotation) -> "tuple[Boxes, NDArray[np.intp]]":
        """Return the boxes of clusters of keys, and the keys' order that they stand for."""
        images = k @ rotation.matrix
        order, sizes = _sorted(images)
        starts = np.cumsum(sizes) - sizes
        low, high = (of.reduceat(images[order], starts, axis=0) for of in (np.minimum, np.maximum))
        # Halved before they are added, which does not overflow.
        middles = low / 2 + high / 2
        wide = middles.astype(np.float64)
        halves = up(np.maximum(high - wide, wide - low))
        if middles.dtype == np.float32:
            halves = float32_above(halves)
        boxes = cls(
            middles=middles,
            halves=halves,
            sizes=sizes,
            longest_key=longest_row(k),
            extent=longest_row(up(np.abs(wide) + halves)),
        )
        return boxes, order


def _sorted(images: Matrix) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return an order of the keys by cluster, and the sizes of the clusters.

    Large clusters first, and small ones of each: n keys take O(n^(3/2)) operations.
    """
    rng = np.random.default_rng(0)
    n = len(images)
    few = max(CLUSTER_KEYS, isqrt(n) // ROOTS_A_KEY)
    large = Clusters.of(images, max(1, min(n // TOGETHER, isqrt(n))), rng)
    orders, sizes = [], []
    for index in range(len(large.sizes)):
        rows = large.order[large.rows(index)]
        small = Clusters.of(images[rows], -(-len(rows) // few), rng)
        orders.append(rows[small.order])
        sizes.append(small.sizes)
    return np.concatenate(orders), np.concatenate(sizes)


def slack_of(
    rotation: Rotation, query_length: float, image_length: float, longest_key: float, extent: float
) -> tuple[float, float]:
    """Bound how far the logit of any key may exceed what is computed for its box (I.box).

    Lengths are at least those of any query and of any image of one.  What is computed is a sum of 2 d
    products of the query's image, in whatever order (FP.softmax); the other number bounds its magnitude, but
    for that rounding.
    """
    constants, d = constants_of(rotation.matrix), len(rotation.matrix)
    reach = float(up(image_length * extent))
    logit_error = rounding_logit(2 * d, constants["unit_roundoff"], reach, constants["tiny"])
    found = box_slack(
        logit_error,
        rotation.defect,
        query_length,
        longest_key,
        image_length,
        rotation.image_error(longest_key),
        rotation.image_error(query_length),
        extent,
    )
    return float(found), reach
